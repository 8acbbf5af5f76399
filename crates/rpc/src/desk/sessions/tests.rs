//! Sessions with one id, opened one after another.

use std::sync::Arc;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::background::{self, Background, Role};

use super::*;
use crate::setup::Setup;

#[tokio::test]
async fn a_second_close_leaves_what_was_loaded_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = background::Options {
        state_dir: dir.path().join("state"),
        workspace: dir.path().to_owned(),
        role: Role::Visitor,
        settings: background::Settings::default(),
    };
    let (background, _events) = Background::open(options).await.unwrap();
    let options = || {
        let script = Scripted::from_text("s", "[[turn]]\ntext = \"x\"\n", Patience::default());
        Setup::default().terms(Provider::Scripted(Arc::new(script.unwrap())), false)
    };
    let sessions = Sessions::default();
    let open = |session, updates| {
        let ((told, _), (_, replied)) = (oneshot::channel(), oneshot::channel());
        // This test needs no reader.
        sessions.open(session, updates, Timeline::default(), None, Start::Loaded(told, replied)).0
    };
    let (session, updates) = Session::create(background.clone(), options()).await.unwrap();
    let id = session.id().to_string();
    let first = open(session, updates);
    first.session.close().await;
    sessions.take(&id, &first);
    assert!(sessions.get(&id).is_none());
    let (session, updates) = Session::load(background.clone(), options(), &id).await.unwrap();
    let second = open(session, updates);
    // A second, late close of the first one.
    sessions.take(&id, &first);
    assert!(sessions.get(&id).is_some(), "it is another session");
    sessions.take(&id, &second);
    assert!(sessions.get(&id).is_none());
    second.session.close().await;
    background.close().await;
}
