use prost::Message;
use rdb_proto::Call;
use rdb_proto::kv::v1::{self, answer::Answer, command::Request, kv_client::KvClient};
use tonic::{Response, Status};

use crate::wire::Wire;

/// A method of the node that a pipeline carries too, as its request.
pub(crate) trait Method: Message + Clone + Default + 'static {
    type Answer: Send;

    /// What a failure of it means.
    const CALL: Call;
    /// What logs call it.
    const PATH: &'static str;

    /// As a command.
    fn into_request(self) -> Request;

    /// Back from a command.
    fn of_request(request: Request) -> Option<Self>;

    /// None where the answer is another method's.
    fn of_answer(answer: Answer) -> Option<Self::Answer>;

    /// Sends it as a request of its own.
    fn send(
        kv: KvClient<Wire>,
        request: tonic::Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

macro_rules! methods {
    ($($name:ident, $method:ident, $request:ident, $answer:ident, $call:ident;)*) => {$(
        impl Method for v1::$request {
            type Answer = v1::$answer;

            const CALL: Call = Call::$call;
            const PATH: &'static str = concat!("/flaredb.kv.v1.Kv/", stringify!($name));

            fn into_request(self) -> Request {
                Request::$name(self)
            }

            fn of_request(request: Request) -> Option<Self> {
                match request {
                    Request::$name(request) => Some(request),
                    _ => None,
                }
            }

            fn of_answer(answer: Answer) -> Option<Self::Answer> {
                match answer {
                    Answer::$name(answer) => Some(answer),
                    _ => None,
                }
            }

            async fn send(
                mut kv: KvClient<Wire>,
                request: tonic::Request<Self>,
            ) -> Result<Response<Self::Answer>, Status> {
                kv.$method(request).await
            }
        }
    )*};
}

methods! {
    Get, get, GetRequest, GetResponse, Read;
    GetMany, get_many, GetManyRequest, GetManyResponse, Read;
    Write, write, WriteRequest, WriteResponse, Write;
    OpenSession, open_session, OpenSessionRequest, OpenSessionResponse, Read;
    ResumeSession, resume_session, ResumeSessionRequest, ResumeSessionResponse, Read;
    EndSession, end_session, EndSessionRequest, EndSessionResponse, Read;
    Settle, settle, SettleRequest, SettleResponse, Read;
    Time, time, TimeRequest, TimeResponse, Read;
}
