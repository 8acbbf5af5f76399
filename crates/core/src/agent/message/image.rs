//! A person's input: text and images.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An image that a person attached to a prompt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The MIME type, one of [`Image::KINDS`].
    pub kind: String,
    /// The bytes in Base64.
    pub data: String,
}

impl Image {
    /// The MIME types that every vendor accepts.
    pub const KINDS: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

    /// The image as a `data:` URL.
    pub(crate) fn url(&self) -> String {
        format!("data:{};base64,{}", self.kind, self.data)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.kind, self.data.len())
    }
}

/// One input of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The text; `[image 1]` marks the position of the first image.
    pub text: String,
    /// The images, in order.
    pub images: Vec<Image>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, images: Vec::new() }
    }
}
