//! `read_file` and `write_file`, and helpers for all tools on files.

use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::blocking::{Gone, blocking};
use super::edit::FILE_BYTES;
use super::editor::Buffers;
use super::encoding::Encoding;
use super::text::{cut, plural};
use super::{Diff, Outcome};
use crate::background::words::thousands;

/// How many lines are shown by default.
const LINES: u64 = 2_000;
/// How many bytes of a line are shown.
const LINE_BYTES: usize = 2_000;
/// A NUL within this many bytes means that a file is not text.
const SNIFFED: usize = 8 << 10;
/// A larger file is not read to its end only to count its lines.
const COUNTED: u64 = 16 << 20;
/// How many entries of a directory are shown.
const ENTRIES: usize = 500;
/// Maximum bytes of a text that is shown as a change; a longer one does not help a reader.
const DIFF_BYTES: usize = 1 << 20;
/// Bytes of a result reserved for the note below the text.
const NOTE_BYTES: usize = 160;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// A request to read a file.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) path: PathBuf,
    /// The path as the model wrote it.
    pub(super) asked: String,
    /// The first line to show, from 1.
    pub(super) offset: u64,
    pub(super) limit: Option<u64>,
    /// How many bytes of the first line to skip.
    pub(super) column: usize,
}

/// Runs the tool `read_file`.
pub(super) async fn read(
    read: Read,
    room: usize,
    buffers: Option<&Buffers>,
) -> Result<Outcome, String> {
    let text = match buffers {
        Some(buffers) => buffers.read(&read.path).await,
        None => None,
    };
    blocking(move |gone| match text {
        Some(text) => read_text(&read, text.len() as u64, text.as_bytes(), room),
        None => read_now(&read, room, gone),
    })
    .await
    .map(Outcome::of)
}

fn read_now(read: &Read, room: usize, gone: &Gone) -> Result<String, String> {
    let Read { path, asked, .. } = read;
    let about = fs::metadata(path).map_err(|error| failed("read", path, &error))?;
    if about.is_dir() {
        return list(path, asked);
    }
    if !about.is_file() {
        return Err(format!("`{asked}` is not a file but {}; it cannot be read", special(&about)));
    }
    let file = File::open(path).map_err(|error| failed("read", path, &error))?;
    let file = BufReader::with_capacity(64 << 10, gone.watch(file));
    read_text(read, about.len(), file, room)
}

fn read_text(
    read: &Read,
    size: u64,
    mut file: impl BufRead,
    room: usize,
) -> Result<String, String> {
    let Read { path, asked, .. } = read;
    let fail = |error: io::Error| failed("read", path, &error);
    let begin = file.fill_buf().map_err(fail)?;
    if begin.is_empty() {
        return Ok(format!("`{asked}` is empty"));
    }
    if let Some(what) = not_text(begin) {
        let size = thousands(size);
        return Ok(format!("`{asked}` is {what} of {size} bytes, which cannot be shown as text"));
    }
    if begin.starts_with(UTF8_BOM) {
        file.consume(UTF8_BOM.len());
    }
    let room = room.saturating_sub(NOTE_BYTES + asked.len());
    let mut text = String::new();
    let (mut number, mut shown) = (0, 0);
    let mut line = Vec::new();
    let limit = read.limit.unwrap_or(LINES);
    let mut is_full = false;
    loop {
        let wanted = number + 1 >= read.offset && !is_full;
        let skip = if number + 1 == read.offset { read.column } else { 0 };
        let kept = wanted.then_some(skip);
        let Some(length) = next_line(&mut file, &mut line, kept).map_err(fail)? else { break };
        number += 1;
        if skip > 0 && skip >= length {
            return Err(format!(
                "`column`: line {number} of `{asked}` has {length} bytes, not {skip}"
            ));
        }
        if wanted {
            let before = text.len();
            push_line(&mut text, number, &line, skip, length);
            if text.len() > room || shown == limit {
                text.truncate(if shown == 0 { text.floor_char_boundary(room) } else { before });
                shown += u64::from(shown == 0);
                is_full = true;
            } else {
                shown += 1;
            }
        }
        if is_full && size > COUNTED {
            break;
        }
    }
    if shown == 0 {
        let s = plural(number);
        return Err(format!("`offset`: `{asked}` has {number} line{s}, not {}", read.offset));
    }
    let next = read.offset + shown;
    if is_full {
        let of = match size > COUNTED {
            true => format!("{} bytes", thousands(size)),
            false => format!("{number} lines"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "... the file has {of}; read on with offset={next} ...");
    }
    Ok(text)
}

/// Reads a line and returns its length without the line break. With `kept`, stores what follows the first `kept`
/// bytes, as far as it is shown.
fn next_line(
    file: &mut impl BufRead,
    line: &mut Vec<u8>,
    kept: Option<usize>,
) -> io::Result<Option<usize>> {
    line.clear();
    let mut length = 0;
    let mut any = false;
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(length));
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        if let Some(skip) = kept {
            let room = (LINE_BYTES + 1).saturating_sub(line.len());
            let piece = &piece[skip.saturating_sub(length).min(piece.len())..];
            line.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        length += piece.len();
        let used = piece.len() + usize::from(end.is_some());
        file.consume(used);
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}

fn push_line(text: &mut String, number: u64, line: &[u8], skip: usize, length: usize) {
    let before = match skip {
        0 => String::new(),
        skip => format!("... {} bytes before ... ", thousands(skip as u64)),
    };
    // Writing to a string cannot fail.
    if length - skip <= LINE_BYTES {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let _ = writeln!(text, "{number:>6}\t{before}{}", String::from_utf8_lossy(line));
    } else {
        let line = crate::background::preview::without_partial_end(&line[..LINE_BYTES]);
        let next = skip + line.len();
        let rest = thousands((length - next) as u64);
        let line = String::from_utf8_lossy(line);
        let _ =
            writeln!(text, "{number:>6}\t{before}{line} ... {rest} more bytes in this line ...");
    }
}

/// What kind of file starts like this, unless it is text.
fn not_text(begin: &[u8]) -> Option<&'static str> {
    if matches!(Encoding::of(begin), Encoding::Utf16 { .. }) {
        return Some("UTF-16 text");
    }
    begin[..begin.len().min(SNIFFED)].contains(&0).then_some("a binary file")
}

fn special(about: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = about.file_type();
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn list(path: &Path, asked: &str) -> Result<String, String> {
    let entries = fs::read_dir(path).map_err(|error| failed("read", path, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let slash = entry.file_type().is_ok_and(|kind| kind.is_dir());
            format!("{}{}", entry.file_name().to_string_lossy(), if slash { "/" } else { "" })
        })
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.truncate(ENTRIES);
    let more = match count > ENTRIES {
        true => format!("\n... {} more; glob finds files by name ...", count - ENTRIES),
        false => String::new(),
    };
    Ok(format!("`{asked}` is a directory:\n{}{more}", names.join("\n")))
}

/// An I/O error of a file as text, with a guess at the intended path.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    let reason = if error.kind() == ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else {
        crate::background::words::reason(error)
    };
    let mut text = format!("cannot {what} `{}`: {reason}", path.display());
    if error.kind() == ErrorKind::NotFound
        && let Some(hint) = hint(path)
    {
        text.push_str(&hint);
    }
    cut(&mut text, 2_000);
    text
}

/// The deepest existing directory of the path, or a file whose name differs only in case or extension.
fn hint(path: &Path) -> Option<String> {
    let parent = path.parent()?;
    if !parent.is_dir() {
        let there = parent.ancestors().find(|path| path.is_dir())?;
        return Some(format!("; `{}` is there, but not what follows it", there.display()));
    }
    let stem = path.file_stem()?.to_string_lossy().to_lowercase();
    let similar = fs::read_dir(parent).ok()?.flatten().take(5_000).find(|entry| {
        let name = entry.file_name();
        let other = Path::new(&name).file_stem().unwrap_or_default();
        other.to_string_lossy().to_lowercase() == stem
    })?;
    Some(format!("; did you mean `{}`?", similar.path().display()))
}

/// Runs the tool `write_file`, through the editor if it should write the file.
pub(super) async fn write(
    path: PathBuf,
    content: String,
    buffers: Option<&Buffers>,
) -> Result<Outcome, String> {
    let Some(buffers) = buffers else {
        return blocking(move |_| write_now(&path, content)).await;
    };
    if !buffers.writes(&path).await {
        return blocking(move |_| write_now(&path, content)).await;
    }
    let text = buffers.read(&path).await;
    // The editor may not have answered, or may not handle files there.
    if text.is_none() && !buffers.writes(&path).await {
        return blocking(move |_| write_now(&path, content)).await;
    }
    let is_in_editor = text.is_some();
    let (place, before) = (path.clone(), text.map(String::into_bytes));
    let before = blocking(move |_| {
        let before = before.or_else(|| fs::read(&place).ok());
        if let (None, Some(parent)) = (&before, place.parent()) {
            fs::create_dir_all(parent).map_err(|error| failed("make", parent, &error))?;
        }
        Ok(before)
    })
    .await?;
    match buffers.write(&path, content.clone()).await {
        Ok(()) => {}
        // Zed refuses files outside of its project; but then no person sees another version of the file in it.
        Err(why) if why.is_refused && !is_in_editor => {
            return blocking(move |_| write_now(&path, content)).await;
        }
        Err(why) => return Err(why.into()),
    }
    let report = report(&path, before.is_some(), &content);
    Ok(Outcome { diff: diff(&path, before, content), ..Outcome::of(report) })
}

/// The result for the model after a file was written.
fn report(path: &Path, was_there: bool, content: &str) -> String {
    let (count, lines) = (content.len() as u64, content.lines().count());
    format!(
        "{} `{}`: {} byte{}, {} line{}",
        if was_there { "replaced" } else { "created" },
        path.display(),
        thousands(count),
        plural(count),
        lines,
        plural(lines as u64)
    )
}

fn write_now(path: &Path, content: String) -> Result<Outcome, String> {
    let old = match fs::metadata(path) {
        Ok(about) if about.is_dir() => {
            return Err(format!("`{}` is a directory; name a file in it", path.display()));
        }
        Ok(about) if !about.is_file() => {
            let what = special(&about);
            return Err(format!("`{}` is {what}, not a file; it is not written", path.display()));
        }
        Ok(about) => Some(about),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed("write", path, &error)),
    };
    // The file keeps its encoding.
    let before = old.as_ref().filter(|about| about.len() <= FILE_BYTES);
    let before = before.and_then(|_| fs::read(path).ok());
    if let (None, Some(parent)) = (&old, path.parent()) {
        fs::create_dir_all(parent).map_err(|error| failed("make", parent, &error))?;
    }
    let encoding = before.as_deref().map_or(Encoding::Utf8 { mark: false }, Encoding::of);
    let bytes = encoding
        .encode(&content)
        .map_err(|error| format!("`{}` was not written: {error}", path.display()))?;
    replace(path, &bytes, old.as_ref()).map_err(|error| failed("write", path, &error))?;
    let report = report(path, old.is_some(), &content);
    let diff = match old {
        None => diff(path, None, content),
        Some(_) => before.and_then(|before| diff(path, Some(before), content)),
    };
    Ok(Outcome { diff, ..Outcome::of(report) })
}

/// The change of a file, if it is text that can be shown.
pub(super) fn diff(path: &Path, old: Option<Vec<u8>>, new: String) -> Option<Diff> {
    let old = match old {
        Some(old) if old.len() > DIFF_BYTES => return None,
        Some(old) => Some(String::from_utf8(old).ok()?),
        None => None,
    };
    (new.len() <= DIFF_BYTES).then(|| Diff { path: path.to_owned(), old, new })
}

/// Replaces a file's contents atomically; its mode and owner stay.
pub(super) fn replace(path: &Path, bytes: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let temporary = parent.join(format!(".meanwhile-{}.tmp", uuid::Uuid::new_v4()));
    // The umask applies to a new file. A file that replaces another is private until it has the other's mode.
    let mode = if old.is_some() { 0o600 } else { 0o666 };
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
    let mut file = match (opened, old) {
        (Ok(file), _) => file,
        // A file can be writable although its directory is not.
        (Err(error), Some(_))
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            return fs::write(path, bytes);
        }
        (Err(error), _) => return Err(error),
    };
    let written = (|| {
        file.write_all(bytes)?;
        if let Some(old) = old {
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                // If the owner cannot be kept, the file now belongs to this user, as with any editor.
                let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
            }
            file.set_permissions(PermissionsExt::from_mode(old.mode() & 0o7777))?;
        }
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The error is reported; do not leave the temporary file behind.
        let _ = fs::remove_file(&temporary);
    }
    match written {
        // A file that is a mount point (such as a container's settings) cannot be replaced, only written.
        Err(error) if old.is_some() && error.kind() == ErrorKind::ResourceBusy => {
            fs::write(path, bytes)
        }
        written => written,
    }
}
