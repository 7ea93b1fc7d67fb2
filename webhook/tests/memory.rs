//! What a review may cost in memory (invariant I17): a binary of its own, because its allocator counts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy.toml allows the first in tests, which does not reach their helper functions; the figures are for the notes"
)]

mod support;

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use peak_alloc::PeakAlloc;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use self::support::{Webhook, head_to, read_answer};

/// Counts a block that grows twice while it is copied, as it is when the system cannot grow it in place.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The largest body that is taken.
const LARGEST: usize = 7 << 20;

/// What a review may take however small it is: as values, a template of 64 KiB can take two hundred times its text,
/// in nine thousand mappings or twenty thousand variables. No review waits while it is judged, so that this is a cost
/// of each of the webhook's threads, and the program gives it two.
const FLOOR: usize = 16 << 20;

/// The connection's buffers, which are no review's.
const CONNECTION: usize = 64 << 10;

/// Longest answer, whatever was asked.
const ANSWER_MAX: usize = 512 << 10;

/// As many of the piece as fit, with commas between them.
fn same(size: usize, piece: &str) -> String {
    let others = size / (piece.len() + 1) - 1;
    format!("{}{piece}", format!("{piece},").repeat(others))
}

/// Members with a name each.
fn members(size: usize, value: &str) -> String {
    let mut text = r#""-":0"#.to_owned();
    let mut index = 0;
    while text.len() + value.len() + 16 < size {
        write!(text, ",\"-{index}\":{value}").unwrap();
        index += 1;
    }
    text
}

/// A text, which ends in an escape: a decoder can then not take it as it stands.
fn escaped(size: usize) -> String {
    format!(r#""{}\n.""#, "a".repeat(size))
}

fn spec(inner: &str) -> String {
    format!(r#"{{"metadata":{{"name":"x"}},"spec":{inner}}}"#)
}

fn template(inner: &str) -> String {
    spec(&format!(r#"{{"jobTemplate":{inner}}}"#))
}

fn listed(size: usize, piece: &str) -> String {
    template(&format!(r#"{{"a":[{}]}}"#, same(size, piece)))
}

fn pod(inner: &str) -> String {
    template(&format!(
        r#"{{"spec":{{"template":{{"spec":{{"restartPolicy":"Never",{inner}}}}}}}}}"#
    ))
}

fn containers(size: usize, piece: &str) -> String {
    pod(&format!(r#""containers":[{}]"#, same(size, piece)))
}

fn metadata(inner: &str) -> String {
    format!(r#"{{"metadata":{{{inner}}},"spec":{{}}}}"#)
}

fn hash(value: &str) -> String {
    metadata(&format!(
        r#""annotations":{{"daemon.justk8s.com/template-hash":{value}}}"#
    ))
}

/// Below a name that takes half of the size, numbers that are told with their path.
fn inexact(size: usize) -> String {
    let name = "n".repeat(size / 2);
    template(&format!(r#"{{"{name}":[{}]}}"#, same(size / 2, "9007199254740993")))
}

/// Below such a name, values of a wrong type.
fn mistyped(size: usize) -> String {
    let name = "n".repeat(size / 2);
    pod(&format!(
        r#""containers":[{}],"overhead":{{"{name}":[]}}"#,
        same(size / 2, "0")
    ))
}

fn script(size: usize) -> String {
    let lines = "echo 1; ".repeat(size / 8);
    pod(&format!(
        r#""containers":[{{"name":"c","image":"i","command":["sh","-c","{lines}"]}}]"#
    ))
}

/// An object of about this size.
type Shape = fn(usize) -> String;

const OBJECTS: [(&str, Shape); 33] = [
    ("lists", |size| listed(size, "[]")),
    ("empty mappings", |size| listed(size, "{}")),
    ("numbers", |size| listed(size, "0")),
    ("nulls", |size| listed(size, "null")),
    ("texts", |size| listed(size, r#""""#)),
    ("mappings", |size| listed(size, r#"{"a":0}"#)),
    ("mappings in mappings", |size| listed(size, r#"{"":{"":{}}}"#)),
    ("fractions", |size| listed(size, "1e15")),
    ("null members", |size| {
        template(&format!("{{{}}}", members(size, "null")))
    }),
    ("members", |size| template(&format!("{{{}}}", members(size, "0")))),
    ("one member, many times", |size| {
        template(&format!("{{{}}}", same(size, r#""a":0"#)))
    }),
    ("containers", |size| containers(size, r#"{"image":"a"}"#)),
    ("containers without an image", |size| containers(size, "{}")),
    ("volumes", |size| {
        pod(&format!(
            r#""containers":[{{"image":"a"}}],"volumes":[{}]"#,
            same(size, "{}")
        ))
    }),
    ("sources of a volume", |size| {
        let inner = same(size, "{}");
        pod(&format!(
            r#""containers":[{{"image":"a"}}],"volumes":[{{"projected":{{"sources":[{inner}]}}}}]"#
        ))
    }),
    ("variables without a name", |size| {
        let inner = same(size, "{}");
        pod(&format!(r#""containers":[{{"image":"a","env":[{inner}]}}]"#))
    }),
    ("variables", |size| {
        let inner = same(size, r#"{"name":"A","value":"1"}"#);
        pod(&format!(r#""containers":[{{"image":"a","env":[{inner}]}}]"#))
    }),
    ("wrong labels", |size| {
        let labels = members(size, r#""-""#);
        template(&format!(r#"{{"metadata":{{"labels":{{{labels}}}}}}}"#))
    }),
    ("inexact numbers", inexact),
    ("wrong types", mistyped),
    ("selector", |size| {
        spec(&format!(r#"{{"selector":{{{}}}}}"#, members(size, "0")))
    }),
    ("a list as spec", |size| spec(&format!("[{}]", same(size, "{}")))),
    ("beside the spec", |size| {
        format!(r#"{{"metadata":{{}},"x":[{}]}}"#, same(size, "[]"))
    }),
    ("managed fields", |size| {
        metadata(&format!(r#""managedFields":[{}]"#, same(size, r#"{"a":{}}"#)))
    }),
    ("annotations", |size| {
        metadata(&format!(r#""annotations":{{{}}}"#, members(size, r#""""#)))
    }),
    ("a list as hash", |size| hash(&format!("[{}]", same(size, "[]")))),
    ("a long hash", |size| hash(&escaped(size))),
    ("a long name", |size| metadata(&format!(r#""name":{}"#, escaped(size)))),
    ("a long text", |size| template(&format!(r#"{{"a":{}}}"#, escaped(size)))),
    ("a long key", |size| template(&format!("{{{}:0}}", escaped(size)))),
    ("nested", |size| {
        template(&format!("{}{}", "[".repeat(size / 2), "]".repeat(size / 2)))
    }),
    ("nested without an end", |size| "[".repeat(size)),
    ("a script", script),
];

/// What is set in the request, instead of an object.
const REQUESTS: [(&str, Shape); 7] = [
    ("name", |size| format!(r#""name":{}"#, escaped(size))),
    ("user", |size| format!(r#""userInfo":{{"username":{}}}"#, escaped(size))),
    ("text as a boolean", |size| {
        format!(r#""userInfo":{{}},"dryRun":"{}""#, "\u{ad}".repeat(size / 2))
    }),
    ("text as a mapping", |size| {
        format!(r#""userInfo":"{}""#, "\u{300}".repeat(size / 2))
    }),
    ("operation", |size| {
        format!(r#""userInfo":{{}},"operation":{}"#, escaped(size))
    }),
    ("uid", |size| format!(r#""userInfo":{{}},"uid":{}"#, escaped(size))),
    ("something else", |size| {
        format!(r#""userInfo":{{}},{}:0"#, escaped(size))
    }),
];

const KIND: &str = r#""kind":{"group":"daemon.justk8s.com","version":"v1alpha1","kind":"DaemonJob"},"resource":{"group":"daemon.justk8s.com","version":"v1alpha1","resource":"daemonjobs"}"#;

fn review(request: &str) -> String {
    format!(r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{{KIND},{request}}}}}"#)
}

fn create(object: &str) -> String {
    review(&format!(
        r#""uid":"u-1","userInfo":{{}},"operation":"CREATE","object":{object}"#
    ))
}

fn update(object: &str, old: &str) -> String {
    review(&format!(
        r#""uid":"u-1","userInfo":{{}},"operation":"UPDATE","object":{object},"oldObject":{old}"#
    ))
}

struct Bench {
    webhook: Webhook,
    stream: TlsStream<TcpStream>,
    reviews: usize,
    /// All of them, because one cause seldom shows in one shape alone.
    too_much: Vec<String>,
}

impl Bench {
    async fn start() -> Self {
        let webhook = Webhook::modern().await;
        let stream = webhook.connect().await;
        Self {
            webhook,
            stream,
            reviews: 0,
            too_much: Vec::new(),
        }
    }

    /// Sends the body, and says what the answer was and what it took.
    async fn measure(&mut self, path: &str, body: &str, is_chunked: bool) -> (String, String, usize) {
        let length = match is_chunked {
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = head_to(path, &length);
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        self.stream.write_all(head.as_bytes()).await.unwrap();
        if is_chunked {
            for chunk in body.as_bytes().chunks(16 << 10) {
                self.stream
                    .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                    .await
                    .unwrap();
                self.stream.write_all(chunk).await.unwrap();
                self.stream.write_all(b"\r\n").await.unwrap();
            }
            self.stream.write_all(b"0\r\n\r\n").await.unwrap();
        } else {
            self.stream.write_all(body.as_bytes()).await.unwrap();
        }
        let (head, answer) = read_answer(&mut self.stream).await;
        let taken = HEAP.peak_usage() - before;
        self.reviews += 1;
        (head, answer, taken)
    }

    async fn check(&mut self, what: &str, body: &str) {
        for path in ["/mutate", "/validate"] {
            let is_chunked = path == "/mutate" && body.len() > LARGEST / 2;
            let (head, answer, taken) = self.measure(path, body, is_chunked).await;
            let factor = taken as f64 / body.len() as f64;
            println!("{factor:7.2} x {:8} bytes {path:9} {what}", body.len());
            let is_answered = head.starts_with("http/1.1 200 ") || head.starts_with("http/1.1 400 ");
            assert!(is_answered, "{what}: {head}");
            if answer.len() > ANSWER_MAX {
                self.too_much
                    .push(format!("{what} on {path}: an answer of {}", answer.len()));
            }
            if head.starts_with("http/1.1 200 ") {
                let answer: Value = serde_json::from_str(&answer).unwrap();
                assert_eq!(answer["response"]["uid"], "u-1", "{what}");
            }
            if taken > (4 * body.len()).max(FLOOR) + CONNECTION {
                self.too_much
                    .push(format!("{what} on {path}: {taken} bytes for {}", body.len()));
            }
        }
    }
}

#[tokio::test]
async fn i17_a_review_takes_at_most_four_times_its_body() {
    let mut bench = Bench::start().await;
    // The connection's own buffers are no review's.
    bench.measure("/validate", &create("{}"), false).await;
    for size in [64 << 10, 1 << 20, LARGEST] {
        let size = size - 1024;
        for (name, object) in OBJECTS {
            bench.check(&format!("create: {name}"), &create(&object(size))).await;
            let (new, old) = (object(size / 2), object(size / 2 - 64));
            bench.check(&format!("update: {name}"), &update(&new, &old)).await;
        }
        for (name, request) in REQUESTS {
            bench.check(&format!("request: {name}"), &review(&request(size))).await;
        }
    }
    assert_eq!(bench.webhook.reviews.0.load(Ordering::SeqCst), bench.reviews);
    assert!(bench.too_much.is_empty(), "{:#?}", bench.too_much);
    drop(bench.stream);
    bench.webhook.ended().await;
}
