//! What a person says: words, and images to go with them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An image.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its type, one of [`Image::KINDS`].
    pub kind: String,
    /// Its bytes in Base64.
    pub data: String,
}

impl Image {
    /// The types that every vendor takes.
    pub const KINDS: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

    /// The image as an address that holds it.
    pub(crate) fn url(&self) -> String {
        format!("data:{};base64,{}", self.kind, self.data)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.kind, self.data.len())
    }
}

/// What a person says at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The words; `[image 1]` stands where the first image belongs.
    pub text: String,
    /// The images, in order.
    pub images: Vec<Image>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, images: Vec::new() }
    }
}
