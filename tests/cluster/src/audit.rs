//! The audit log: which calls the API server was sent, by whom, and how it answered.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

/// A call that the API server has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `create`, `get`, `list`, …
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// In the plural; empty for a path that is no resource.
    pub resource: String,
    /// Mostly empty.
    pub subresource: String,
    /// Empty for an object of the cluster.
    pub namespace: String,
    /// Of the object; empty for a list.
    pub name: String,
    /// Who it was.
    pub user: String,
    /// The program, as it calls itself.
    pub user_agent: String,
    /// The HTTP code of the answer.
    pub code: u64,
    /// When it came: RFC 3339 in UTC, always of the same length.
    pub received: String,
    /// What was sent, if the policy's level for it is `Request`; else null.
    pub body: Value,
}

impl Call {
    /// Reads one line of the log.
    fn parse(line: &str) -> Result<Self> {
        let mut event: Value = serde_json::from_str(line).context("a line of the audit log is no JSON")?;
        let body = event["requestObject"].take();
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Self {
            verb: text("/verb"),
            group: text("/objectRef/apiGroup"),
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            user: text("/user/username"),
            user_agent: text("/userAgent"),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            received: text("/requestReceivedTimestamp"),
            body,
        })
    }
}

/// Reads an audit log while it is written.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    /// How far it has been read: to the end of a line.
    read: u64,
}

impl AuditLog {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The calls that were written down since the last time.
    /// A call is written down once it is answered, so a moment after its caller knows the answer.
    ///
    /// # Errors
    /// When there is no log, because no policy asks for one, or when it is not one.
    pub fn news(&mut self) -> Result<Vec<Call>> {
        let mut file = File::open(&self.path).context("there is no audit log: give the cluster an audit policy")?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // The last line may be half written.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        text.truncate(whole);
        let text = String::from_utf8(text).context("the audit log is no UTF-8")?;
        let calls: Vec<Call> = text.lines().map(Call::parse).collect::<Result<_>>()?;
        self.read += u64::try_from(text.len()).context("the audit log is too long")?;
        Ok(calls)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_is_read_once_and_only_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut log = AuditLog::new(path.clone());
        assert!(log.news().unwrap_err().to_string().contains("audit policy"));

        let mut file = File::create(path).unwrap();
        let event = json!({
            "verb": "delete", "user": {"username": "me"}, "userAgent": "curl",
            "objectRef": {"apiGroup": "batch", "resource": "jobs", "namespace": "ns", "name": "j"},
            "responseStatus": {"code": 404}, "requestReceivedTimestamp": "2026-01-02T03:04:05.678901Z",
            "requestObject": {"propagationPolicy": "Foreground"},
        });
        write!(file, "{event}\n{{\"verb\":\"li").unwrap();
        let calls = log.news().unwrap();
        let expected = Call {
            verb: "delete".into(),
            group: "batch".into(),
            resource: "jobs".into(),
            subresource: String::new(),
            namespace: "ns".into(),
            name: "j".into(),
            user: "me".into(),
            user_agent: "curl".into(),
            code: 404,
            received: "2026-01-02T03:04:05.678901Z".into(),
            body: json!({"propagationPolicy": "Foreground"}),
        };
        assert_eq!(calls, [expected]);

        writeln!(file, "st\"}}").unwrap();
        let verbs: Vec<String> = log.news().unwrap().into_iter().map(|call| call.verb).collect();
        assert_eq!(verbs, ["list"]);
        assert_eq!(log.news().unwrap(), []);
    }
}
