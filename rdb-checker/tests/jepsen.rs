//! The 102 histories that Jepsen recorded against etcd, with their known verdicts.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use rdb_checker::{Answer, Condition, Current, History, Request, Verdict, wgl};

/// Counts as a failure when it passes; it has nothing to do with how long a history takes.
const DEADLINE: Duration = Duration::from_secs(300);

#[test]
fn wgl_judges_the_jepsen_histories_of_etcd_as_is_known() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jepsen-etcd");
    let verdicts = fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let mut longest = (Duration::ZERO, "");
    let mut wrong = Vec::new();
    for line in verdicts.lines() {
        let (name, known) = line.split_once('\t').unwrap();
        let history =
            History::from_jepsen_log(BufReader::new(File::open(folder.join(name)).unwrap())).unwrap();
        #[allow(clippy::disallowed_methods)] // the clock of a measurement
        let start = Instant::now();
        let verdict = wgl::check(&history, DEADLINE);
        longest = longest.max((start.elapsed(), name));
        let agrees = match &verdict {
            Verdict::Linearizable => known == "linearizable",
            Verdict::Violation(_) => known == "not-linearizable",
            Verdict::Undecided(_) => false,
        };
        if !agrees {
            wrong.push(format!("{name} is {known}, and was judged {verdict}"));
        }
    }
    let count = verdicts.lines().count();
    println!("{} of {count} verdicts, the longest in {:?} ({})", count - wrong.len(), longest.0, longest.1);
    assert_eq!(count, 102);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read(log: &str) -> History {
    History::from_jepsen_log(log.as_bytes()).expect("a log of Jepsen's")
}

fn answers(history: &History) -> Vec<Option<&Answer>> {
    history.operations.iter().map(|operation| operation.answer()).collect()
}

#[test]
fn jepsen_completions_become_answers() {
    let history = read(
        "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
         INFO  jepsen.util - 0\t:ok\t:read\tnil\n\
         a line of another program\n\
         INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
         INFO  jepsen.util - 1   :invoke :cas    [3 0]\n\
         INFO  jepsen.util - 1   :fail   :cas    [3 0]\n\
         INFO  jepsen.util - 2\t:invoke\t:write\t4\n\
         INFO  jepsen.util - 2\t:info\t:write\t:timed-out\n\
         INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
         INFO  jepsen.util - 0\t:fail\t:read\t:timed-out\n\
         INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]\n\
         INFO  jepsen.util - 1\t:fail\t:cas\t:unavailable\n\
         INFO  jepsen.util - 3\t:invoke\t:write\t1\n",
    );
    let conflict = Answer::Conflict { index: 0, version: None, current: Current::Unsaid };
    assert_eq!(
        answers(&history),
        [
            Some(&Answer::Record(None)),
            Some(&conflict),
            None,
            Some(&Answer::Failed),
            Some(&Answer::Failed),
            None
        ]
    );
    assert_eq!((history.operations[1].called, history.operations[1].returned()), (5, 6));
    let key = || "register".into();
    let cas = Request::Write {
        conditions: vec![(key(), Condition::Value("3".into()))],
        ops: vec![(key(), Some("0".into()))],
        ttls: Vec::new(),
    };
    assert_eq!(history.operations[1].request, cas);
}

#[test]
fn a_jepsen_log_that_makes_no_sense_is_refused_with_its_line() {
    for (log, line, problem) in [
        ("INFO jepsen.util - 0 :ok :read 1\n", 1, "the process invoked nothing"),
        (
            "INFO jepsen.util - 0 :invoke :read nil\nINFO jepsen.util - 0 :invoke :read nil\n",
            2,
            "the process waits for an answer",
        ),
        ("INFO jepsen.util - 0 :invoke :push 1\n", 1, "no such invocation"),
        ("INFO jepsen.util - 0 :invoke\n", 1, "a process, a kind and a function are wanted"),
        (
            "INFO jepsen.util - 0 :invoke :write 1\nINFO jepsen.util - 0 :ok :write 2\n",
            2,
            "the completion does not fit the invocation",
        ),
    ] {
        let error = History::from_jepsen_log(log.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.problem.as_str()), (line, problem), "{log}");
    }
}
