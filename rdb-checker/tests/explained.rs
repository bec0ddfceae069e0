//! What a violation says is enough to see it.

use std::time::Duration;

use rdb_checker::{History, Verdict, wgl};

#[test]
fn a_stale_read_is_told_with_the_write_that_it_missed() {
    let lines = r#"
        {"event":"call","op":0,"process":0,"at":10,"request":{"write":{"ops":[["k","old"]]}}}
        {"event":"return","op":0,"at":15,"answer":"applied"}
        {"event":"call","op":1,"process":0,"at":20,"request":{"write":{"ops":[["k","new"]]}}}
        {"event":"return","op":1,"at":25,"answer":"applied"}
        {"event":"call","op":2,"process":1,"at":30,"request":{"get":{"key":"k"}}}
        {"event":"return","op":2,"at":35,"answer":{"record":{"value":"old"}}}"#;
    let history = History::read(lines.as_bytes()).unwrap();
    let Verdict::Violation(violation) = wgl::check(&history, Duration::from_secs(60)) else {
        panic!("a stale read was not found")
    };
    assert_eq!(
        violation.explain(&history),
        "no order of the operations explains every answer: the longest places 0 of 3 that have to be in \
         it, and none of those under way can be next (there, \"k\" is absent), while 1 called later still expect what they \
         overwrite or put, and 1 had overwritten it by then. keys=`\"k\"`\n  \
         operation 0, process 0, 10 to 15: put \"k\" = \"old\" -> applied\n  \
         operation 1, process 0, 20 to 25: put \"k\" = \"new\" -> applied\n  \
         operation 2, process 1, 30 to 35: get \"k\" -> \"old\""
    );
}
