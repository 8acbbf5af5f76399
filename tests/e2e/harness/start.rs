//! Starts a daemon with a choice of transport, environment and handshake.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{BINARY, Daemon, Lab};

/// What stdin and stdout of the daemon are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Pipes, as with most editors and shells.
    Pipes,
    /// Socket pairs, as with Node.
    Sockets,
}

/// A builder that starts a daemon.
pub(crate) struct Start {
    lab: Lab,
    transport: Transport,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, Option<String>)>,
    handshake: Option<Value>,
    pub(super) noisy: bool,
}

impl Start {
    pub(super) fn new(lab: &Lab) -> Self {
        let root = format!("file://{}", lab.workspace().display());
        Self {
            lab: lab.clone(),
            transport: Transport::Pipes,
            wrapper: Vec::new(),
            arguments: vec!["serve".to_owned()],
            environment: Vec::new(),
            handshake: Some(json!({
                "processId": null,
                "capabilities": {},
                "workspaceFolders": [{ "uri": root, "name": "workspace" }],
            })),
            noisy: false,
        }
    }

    pub(crate) fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Runs the daemon as the last arguments of this command.
    pub(crate) fn wrapped_in(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    /// Starts without a handshake.
    pub(crate) fn silent(mut self) -> Self {
        self.handshake = None;
        self
    }

    /// Sets a parameter of `initialize`; null removes it.
    pub(crate) fn initialize(mut self, name: &str, value: Value) -> Self {
        let params = self.handshake.as_mut().expect("a silent start has no handshake to change");
        let params = params.as_object_mut().expect("the parameters are an object");
        if value.is_null() {
            params.remove(name);
        } else {
            params.insert(name.to_owned(), value);
        }
        self
    }

    /// Sets `initializationOptions` of the handshake.
    pub(crate) fn options(self, options: Value) -> Self {
        self.initialize("initializationOptions", options)
    }

    /// Permits the daemon to write to stderr.
    pub(crate) fn noisy(mut self) -> Self {
        self.noisy = true;
        self
    }

    /// Starts it and, unless it is silent, does the handshake.
    pub(crate) fn go(self) -> Daemon {
        let (daemon, _result) = self.go_and_tell();
        daemon
    }

    /// Starts it, and also returns the result of `initialize`.
    pub(crate) fn go_and_tell(mut self) -> (Daemon, Value) {
        let handshake = self.handshake.take();
        let daemon = self.launch();
        let Some(params) = handshake else { return (daemon, Value::Null) };
        let result = daemon.call("initialize", params);
        daemon.notify("initialized", json!({}));
        (daemon, result)
    }

    fn launch(self) -> Daemon {
        let words: Vec<String> = self
            .wrapper
            .iter()
            .cloned()
            .chain([BINARY.to_owned()])
            .chain(self.arguments.iter().cloned())
            .collect();
        let (program, arguments) = words.split_first().expect("the binary is always there");
        let mut command = Command::new(program);
        command.args(arguments).stderr(Stdio::piped());
        self.lab.dress(&mut command);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let sockets = match self.transport {
            Transport::Pipes => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                None
            }
            Transport::Sockets => {
                let pair = || UnixStream::pair().expect("a socketpair can be created");
                let ((ours_in, theirs_in), (ours_out, theirs_out)) = (pair(), pair());
                command.stdin(OwnedFd::from(theirs_in)).stdout(OwnedFd::from(theirs_out));
                Some((ours_in, ours_out))
            }
        };
        let mut child = command.spawn().expect("the binary starts");
        // Closes the child's ends of the sockets, so that the end of its output is noticed.
        drop(command);
        let (stdin, stdout): (Box<dyn Write + Send>, Box<dyn Read + Send>) = match sockets {
            Some((stdin, stdout)) => (Box::new(stdin), Box::new(stdout)),
            None => (
                Box::new(child.stdin.take().expect("stdin is piped")),
                Box::new(child.stdout.take().expect("stdout is piped")),
            ),
        };
        Daemon::attach(self.lab, child, stdin, stdout, self.noisy)
    }
}
