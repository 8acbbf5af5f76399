//! A session whose model is a server, for what a script cannot do.

use meanwhile_core::agent::permission::Rules;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::servers::{Server, Way};
use meanwhile_core::agent::session::{Terms, TurnEnd, Update};
use meanwhile_core::agent::trace::{Event, Fact};
use meanwhile_core::agent::{ModelChoice, Provider};

use super::lab::{Lab, Talk, run};
use super::model_server::{ModelServer, Reply, recorded, stream};

async fn provider(server: &ModelServer) -> Provider {
    let choice = ModelChoice::from_env(|name| match name {
        "MEANWHILE_MODEL" => Some("anthropic/tester".to_owned()),
        "ANTHROPIC_BASE_URL" => Some(server.url.clone()),
        "ANTHROPIC_API_KEY" => Some("sk-secret".to_owned()),
        _ => None,
    });
    choice.provider(Patience::default(), &[]).await.unwrap()
}

/// A session in which nothing is allowed, with a model that calls two tools and reports nothing about itself.
async fn talk(lab: &Lab, server: &ModelServer) -> Talk {
    let options = lab.options("[[turn]]\ntext = 'unused'\n");
    let rules = Rules::new(Vec::new());
    lab.session_of(Terms { provider: provider(server).await, rules, ..options }).await
}

async fn two_calls_and_silence() -> ModelServer {
    let calls = Reply::Bytes(stream(&recorded("a10s-parallel-stream.body")));
    ModelServer::start(vec![calls, Reply::Hang(Vec::new())]).await
}

#[test]
fn a_cancel_does_not_wait_for_what_the_server_says_about_its_models() {
    run(async |lab: &mut Lab| {
        let server = two_calls_and_silence().await;
        let mut talk = talk(lab, &server).await;
        let end = talk.begin("go");
        server.has_asked(2).await;
        assert_eq!(server.asked()[1].line.split(' ').next(), Some("GET"));
        talk.session.cancel().await.unwrap();
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::Cancelled);
        assert_eq!(talk.outcomes(), ["cancelled by the person"; 2], "no tool was looked at");
        talk.close().await;
    });
}

#[test]
fn the_tokens_of_a_request_are_all_of_them() {
    run(async |lab: &mut Lab| {
        let server = two_calls_and_silence().await;
        let mut talk = talk(lab, &server).await;
        let end = talk.begin("go");
        talk.until(|update| matches!(update, Update::Usage { .. })).await;
        talk.session.cancel().await.unwrap();
        talk.turn_ended().await;
        end.await.unwrap();
        let tokens = talk.told.iter().find_map(|update| match update {
            Update::Traced(Event {
                fact: Fact::CallEnded { input_tokens, cached_tokens, .. },
                ..
            }) => Some((*input_tokens, *cached_tokens)),
            _ => None,
        });
        // One of the tokens was not in the cache, the others were.
        assert_eq!(tokens, Some((Some(337), Some(336))));
        talk.close().await;
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn a_request_carries_the_tools_of_servers_behind_ours() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3 here");
        return;
    }
    run(async |lab: &mut Lab| {
        let server = two_calls_and_silence().await;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/mcp/server.py");
        let (program, args) = ("python3".into(), vec![path.to_owned()]);
        let way = Way::Program { program, args, env: Vec::new() };
        let servers = vec![Server { name: "files".to_owned(), way }];
        let options = lab.options("[[turn]]\ntext = 'unused'\n");
        let terms = Terms { provider: provider(&server).await, servers, ..options };
        let mut talk = lab.session_of(terms).await;
        let end = talk.begin("go");
        server.has_asked(2).await;
        talk.session.cancel().await.unwrap();
        talk.turn_ended().await;
        end.await.unwrap();
        let body = server.asked()[0].body.clone();
        let tools = body["tools"].as_array().unwrap();
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names[11..14], ["update_plan", "mcp__files__echo", "mcp__files__fails"]);
        let echo = &tools[12];
        assert_eq!(echo["description"], "The tool echo.");
        assert_eq!(echo["input_schema"]["properties"]["text"]["type"], "string", "{echo}");
        talk.close().await;
    });
}
