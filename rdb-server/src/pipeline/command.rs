use rdb_engine_api::{Engine, Error, ErrorKind, Result};
use rdb_proto::kv::v1;
use rdb_proto::kv::v1::answer::Answer;
use rdb_proto::kv::v1::command::Request;
use tokio::time::Instant;

use crate::gate::Admission;
use crate::handlers::{Handlers, Write, put_response};
use crate::method::Methods;

/// The methods that commands are requests of, in the order of [`Places::of`].
const PATHS: [&str; 11] = [
    "/flaredb.kv.v1.Kv/Get",
    "/flaredb.kv.v1.Kv/GetMany",
    "/flaredb.kv.v1.Kv/Put",
    "/flaredb.kv.v1.Kv/Delete",
    "/flaredb.kv.v1.Kv/CompareAndSwap",
    "/flaredb.kv.v1.Kv/Write",
    "/flaredb.kv.v1.Kv/OpenSession",
    "/flaredb.kv.v1.Kv/ResumeSession",
    "/flaredb.kv.v1.Kv/EndSession",
    "/flaredb.kv.v1.Kv/Settle",
    "/flaredb.kv.v1.Kv/Time",
];

/// The places of those methods among a server's.
#[derive(Debug)]
pub(super) struct Places([usize; PATHS.len()]);

impl Places {
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) where the server lacks one.
    pub(super) fn new(methods: &Methods) -> Result<Self> {
        let mut places = [0; PATHS.len()];
        for (place, path) in places.iter_mut().zip(PATHS) {
            *place = methods.at(path).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "method of a command is not served").with("path", path)
            })?;
        }
        Ok(Self(places))
    }

    /// The place of a command's method.
    pub(super) const fn of(&self, request: &Request) -> usize {
        self.0[match request {
            Request::Get(_) => 0,
            Request::GetMany(_) => 1,
            Request::Put(_) => 2,
            Request::Delete(_) => 3,
            Request::CompareAndSwap(_) => 4,
            Request::Write(_) => 5,
            Request::OpenSession(_) => 6,
            Request::ResumeSession(_) => 7,
            Request::EndSession(_) => 8,
            Request::Settle(_) => 9,
            Request::Time(_) => 10,
        }]
    }
}

/// Whether it may wait for long for what others do (C20).
pub(super) fn may_wait(request: &Request) -> bool {
    let options = match request {
        Request::Put(request) => &request.options,
        Request::Delete(request) => &request.options,
        Request::CompareAndSwap(request) => &request.options,
        Request::Write(request) => &request.options,
        _ => return false,
    };
    options.as_ref().is_some_and(|options| options.condition_wait_ms.is_some())
}

/// A command that is ready for the engine.
#[derive(Debug)]
pub(super) enum Work {
    Get(v1::GetRequest),
    GetMany(v1::GetManyRequest),
    /// Boxed: a get would be moved about as something as large.
    Write(Box<Write>, Shape),
    OpenSession(v1::OpenSessionRequest),
    ResumeSession(v1::ResumeSessionRequest),
    EndSession(v1::EndSessionRequest),
    Settle(v1::SettleRequest),
    Time(v1::TimeRequest),
}

/// How a write was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Put,
    Delete,
    CompareAndSwap,
    Write,
}

impl Work {
    /// # Errors
    /// What makes the request one that cannot be.
    pub(super) fn new<E: Engine + ?Sized>(
        request: Request,
        handlers: &Handlers<E>,
        admission: &Admission,
        now: Instant,
    ) -> Result<Self> {
        let write = |write: Result<Write>, shape| write.map(|write| Self::Write(Box::new(write), shape));
        Ok(match request {
            Request::Get(request) => Self::Get(request),
            Request::GetMany(request) => Self::GetMany(request),
            Request::Put(request) => write(handlers.prepare(request, admission, now), Shape::Put)?,
            Request::Delete(request) => write(handlers.prepare(request, admission, now), Shape::Delete)?,
            Request::CompareAndSwap(request) => {
                write(handlers.prepare(request, admission, now), Shape::CompareAndSwap)?
            }
            Request::Write(request) => write(handlers.prepare(request, admission, now), Shape::Write)?,
            Request::OpenSession(request) => Self::OpenSession(request),
            Request::ResumeSession(request) => Self::ResumeSession(request),
            Request::EndSession(request) => Self::EndSession(request),
            Request::Settle(request) => Self::Settle(request),
            Request::Time(request) => Self::Time(request),
        })
    }
}

/// Does what a command asks for.
pub(super) async fn execute<E: Engine + ?Sized>(handlers: &Handlers<E>, work: Work) -> Result<Answer> {
    Ok(match work {
        Work::Get(request) => Answer::Get(handlers.get(request).await?),
        Work::GetMany(request) => Answer::GetMany(handlers.get_many(request).await?),
        Work::Write(write, shape) => {
            // Boxed for the same reason.
            let outcome = Box::pin(handlers.write(*write)).await?;
            match shape {
                Shape::Put => Answer::Put(put_response(outcome)?),
                Shape::Delete => Answer::Delete(outcome.into()),
                Shape::CompareAndSwap => Answer::CompareAndSwap(outcome.into()),
                Shape::Write => Answer::Write(outcome.into()),
            }
        }
        Work::OpenSession(request) => Answer::OpenSession(handlers.open_session(request).await?),
        Work::ResumeSession(request) => Answer::ResumeSession(handlers.resume_session(request).await?),
        Work::EndSession(request) => Answer::EndSession(handlers.end_session(request).await?),
        Work::Settle(request) => Answer::Settle(handlers.settle(request).await?),
        Work::Time(request) => Answer::Time(handlers.time(request).await?),
    })
}
