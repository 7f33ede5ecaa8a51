//! Pictures inside the page.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, ImageReader};
use maud::{Markup, html};
use shortrun_eval::Grid;

use crate::ReportError;

/// A picture with its caption.
#[derive(Clone, Debug)]
pub struct Picture {
    caption: String,
    address: String,
    width: u32,
    height: u32,
}

/// Files larger than this are not put in a page.
const LARGEST: u64 = 8 << 20;

impl Picture {
    /// A grid of images.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn of(grid: &Grid, caption: impl Into<String>) -> Result<Self, ReportError> {
        let caption = caption.into();
        match grid.png() {
            Ok(png) => Self::png(&png, caption),
            Err(error) => Err(fault(&caption, error)),
        }
    }

    /// A PNG file.
    ///
    /// # Errors
    /// If it cannot be read, is no PNG, or has more than 8 MiB.
    pub fn file(path: &Path, caption: impl Into<String>) -> Result<Self, ReportError> {
        let name = path.display().to_string();
        let length = std::fs::metadata(path)
            .map_err(|error| fault(&name, error))?
            .len();
        if length > LARGEST {
            return Err(fault(&name, "it has more than 8 MiB"));
        }
        let bytes = std::fs::read(path).map_err(|error| fault(&name, error))?;
        Self::png(&bytes, caption.into()).map_err(|error| fault(&name, error))
    }

    fn png(bytes: &[u8], caption: String) -> Result<Self, ReportError> {
        let mut reader = ImageReader::new(std::io::Cursor::new(bytes));
        reader.set_format(ImageFormat::Png);
        let (width, height) = match reader.decode() {
            Ok(image) => (image.width(), image.height()),
            Err(error) => return Err(fault(&caption, error)),
        };
        Ok(Self {
            caption,
            address: format!("data:image/png;base64,{}", STANDARD.encode(bytes)),
            width,
            height,
        })
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            figure.picture {
                img src=(self.address) alt=(self.caption) width=(self.width) height=(self.height);
                figcaption { (self.caption) }
            }
        }
    }
}

fn fault(name: &str, reason: impl std::fmt::Display) -> ReportError {
    ReportError::Picture {
        name: name.to_owned(),
        reason: reason.to_string(),
    }
}
