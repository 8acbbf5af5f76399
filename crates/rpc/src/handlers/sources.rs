//! `workspace/sources`: the state of a Git working tree, so that a courier can compare the sources of two machines.

use meanwhile_core::background::sources::Sources;

use super::Result;
use crate::convert::error;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{SourcesParams, SourcesResult};

/// Runs `git status` beside other requests.
pub(crate) async fn run(
    desk: &Desk,
    SourcesParams { cwd }: SourcesParams,
) -> Result<Answer<SourcesResult>> {
    let workspace = desk.engine().await?.workspace().to_owned();
    let dir = cwd.map_or_else(|| workspace.clone(), |cwd| workspace.join(cwd));
    match Sources::of(dir).await {
        Ok(Sources { head, changes }) => Ok(SourcesResult { head, changes }.into()),
        Err(why) => Err(error::invalid("cwd", why)),
    }
}
