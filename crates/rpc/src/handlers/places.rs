//! `place/list`: lists the other machines on which tasks can run.

use super::Result;
use crate::convert::to_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{PlaceInfo, PlaceList, PlaceListParams};

/// Returns the couriers' last reports; connects to no place.
pub(crate) async fn run(
    desk: &Desk,
    PlaceListParams {}: PlaceListParams,
) -> Result<Answer<PlaceList>> {
    let background = desk.engine().await?;
    let info = |name: &String| {
        let contact = background.contact(name);
        PlaceInfo {
            name: name.clone(),
            version: contact.as_ref().and_then(|it| it.version.clone()),
            contact: contact.as_ref().and_then(to_wire::contact),
        }
    };
    Ok(PlaceList { places: background.places().keys().map(info).collect() }.into())
}
