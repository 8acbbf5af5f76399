//! How the agent ends: tasks go on.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Store, until};

const HELD: &str = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done; echo whole' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['whole']
text = 'It is whole.'
";

#[test]
fn the_end_of_input_and_a_signal_end_it_and_tasks_go_on() {
    for signal in [None, Some(Signal::SIGTERM)] {
        let store = Store::new();
        let mut client = Client::new(&store, HELD);
        let session = client.session(&store.workspace());
        client.say(&session, "run it");
        client.says("It runs.");
        match signal {
            None => client.pipe.close(),
            Some(signal) => client.pipe.signal(signal),
        }
        let status = client.pipe.wait();
        assert!(signal.is_some() || status.success(), "{status}");
        let running = store.json(&["ps", "--json"]);
        assert_eq!(running["tasks"][0]["state"], "running", "{running}");
        let id = running["tasks"][0]["id"].as_str().unwrap().to_owned();
        store.release();
        until("it has ended", || store.task(&id)["state"] == "exited");
        // Its result is told in the session when that is opened again.
        let mut client = Client::new(&store, HELD);
        let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
        client.call("session/load", params);
        client.says("It is whole.");
    }
}
