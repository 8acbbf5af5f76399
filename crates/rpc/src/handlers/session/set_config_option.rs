//! `session/set_config_option`: changes a setting of a session, now and for later loads.

use meanwhile_core::agent::session::Choice;

use super::{Result, open, refused};
use crate::convert::error::invalid;
use crate::convert::options::{self, ConfigOption};
use crate::desk::{Desk, Open};
use crate::peer::Answer;
use crate::wire::acp;

/// Answers with all options after the change.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::SetSessionConfigOptionRequest,
) -> Result<Answer<acp::SetSessionConfigOptionResponse>> {
    let option = ConfigOption::named(&params.config_id.0)?;
    let value = options::text(&params.value)?;
    let open = open(desk, &params.session_id)?;
    let choice = match option {
        // A model that was found without a setting cannot be looked up by name.
        ConfigOption::Model if value == open.session.model() => {
            return Ok(answer(desk, &open));
        }
        ConfigOption::Model => Choice::Model(model(desk, &open, value).await?),
        ConfigOption::Permissions => Choice::Permissions(options::permissions("value", value)?),
        ConfigOption::Wake => Choice::Wake(options::wake("value", value)?),
    };
    open.session.choose(choice).await.map_err(refused)?;
    if option == ConfigOption::Permissions {
        // For clients that show modes.
        let mode = acp::CurrentModeUpdate::new(open.session.permissions().name());
        desk.tell(&params.session_id.0, acp::SessionUpdate::CurrentModeUpdate(mode));
    }
    Ok(answer(desk, &open))
}

fn answer(desk: &Desk, open: &Open) -> Answer<acp::SetSessionConfigOptionResponse> {
    let options = options::of(&open.session, desk.models());
    acp::SetSessionConfigOptionResponse::new(options).into()
}

async fn model(desk: &Desk, open: &Open, setting: &str) -> Result<meanwhile_core::agent::Provider> {
    desk.model_named(setting).await.map_err(|error| {
        let known = match desk.models() {
            [] => format!("`{}`", open.session.model()),
            models => {
                let some: Vec<_> = models.iter().take(10).map(|name| format!("`{name}`")).collect();
                let more = if models.len() > 10 { " and others" } else { "" };
                format!("{}{more}", some.join(", "))
            }
        };
        invalid("value", format!("{error}; known here: {known}"))
    })
}
