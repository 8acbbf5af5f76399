//! Releases memory whose contents can be read again from the program's own file.
//!
//! An idle daemon's resident memory is mostly its own code, and most of that ran once, at the start.
//! Released pages stay in the page cache and are mapped again when they are next read or run.

#![expect(unsafe_code, reason = "madvise(2) is a C interface")]

use std::ops::Range;

/// Bytes of a page. If pages are larger, less is released.
const PAGE: usize = 4_096;

/// Releases constants of this program that will not be read again.
pub fn let_go(bytes: &'static [u8]) {
    let start = bytes.as_ptr().addr();
    let whole = start.next_multiple_of(PAGE)..(start + bytes.len()) / PAGE * PAGE;
    if whole.start < whole.end {
        // SAFETY: the pages are whole and contain only these bytes, which are constant and in a private mapping
        // of a file: a released page is read from there again.
        unsafe { forget(&whole) };
    }
}

/// Releases all code that is not currently running, and the constants next to it.
pub fn let_go_of_code() {
    let Ok(exe) = std::fs::read_link("/proc/self/exe") else { return };
    let (Some(exe), Ok(maps)) = (exe.to_str(), std::fs::read_to_string("/proc/self/maps")) else {
        return;
    };
    for range in maps.lines().filter_map(|line| code_of(line, exe)) {
        // SAFETY: a read-only mapping of our own file, with its code or its beginning. The linker places
        // nothing that is relocated there, so the pages equal the file's and can be read from it again.
        unsafe { forget(&range) };
    }
}

/// The addresses of a line of `/proc/self/maps` (proc_pid_maps(5)) if it maps code of the file `exe` or the
/// constants at its beginning. Other read-only mappings are skipped: the loader may have written to them.
fn code_of(line: &str, exe: &str) -> Option<Range<usize>> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let (access, offset) = (fields.next()?, fields.next()?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let is_the_files = access == "r-xp" || (access == "r--p" && address(offset)? == 0);
    let is_ours = fields.nth(2)?.trim_start() == exe;
    (is_the_files && is_ours).then_some(address(start)?..address(end)?)
}

/// # Safety
///
/// The range holds whole pages of private file mappings that were never written to.
unsafe fn forget(range: &Range<usize>) {
    let start = std::ptr::without_provenance_mut(range.start);
    // SAFETY: as the caller promises, the file still has the contents of every dropped page.
    unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_code_is_let_go() {
        let check = |line, range| assert_eq!(code_of(line, "/bin/a b"), range, "{line}");
        check("1000-3000 r-xp 00001000 08:01 42                 /bin/a b", Some(0x1000..0x3000));
        check("1000-3000 r--p 00001000 08:01 42                 /bin/a b", None);
        check("1000-3000 r--p 00000000 08:01 42                 /bin/a b", Some(0x1000..0x3000));
        check("1000-3000 r--p 00000000 08:01 42                 /lib/libc.so.6", None);
        check("1000-3000 rw-p 00000000 08:01 42                 /bin/a b", None);
        check("1000-3000 rwxp 00001000 08:01 42                 /bin/a b", None);
        check("1000-3000 r-xp 00001000 08:01 42                 /lib/libc.so.6", None);
        check("1000-3000 r-xp 00001000 08:01 42                 /bin/a b (deleted)", None);
        check("1000-3000 r-xp 00000000 00:00 0", None);
    }

    #[test]
    fn what_was_let_go_comes_back() {
        static BYTES: [u8; 3 * PAGE] = [7; 3 * PAGE];
        let_go(&BYTES);
        let_go_of_code();
        assert!(BYTES.iter().all(|byte| *byte == 7));
    }
}
