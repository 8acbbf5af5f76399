//! The record's header as shared memory; the only module that handles raw memory.
//!
//! Only a task's shim, or its courier, maps the record, and only that process writes it. Readers use
//! pread(2).

#![expect(unsafe_code, reason = "a shared mapping has no safe interface")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file's first bytes, shared with all processes that read the file.
#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    len: usize,
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives the value.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

impl Map {
    /// Maps the first `len` bytes. They must be allocated already, because on a full disk a store to an
    /// unallocated page raises SIGBUS.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice aliases no memory of this process.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    fn at(&self, offset: usize, size: usize) -> NonNull<u8> {
        assert!(offset + size <= self.len && offset.is_multiple_of(size), "inside the mapping");
        // SAFETY: the assertion keeps the address inside the mapping, which lives as long as this value.
        unsafe { self.start.add(offset) }
    }

    /// The 64 bits at `offset`, a multiple of 8.
    pub fn u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: `at` checked bounds and alignment; every access through this type to these
        // bytes is atomic or happens before the record is published.
        unsafe { self.at(offset, 8).cast::<AtomicU64>().as_ref() }
    }

    /// The 32 bits at `offset`, a multiple of 4.
    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as for `u64`.
        unsafe { self.at(offset, 4).cast::<AtomicU32>().as_ref() }
    }

    /// Copies bytes into the mapping. Readers need another way to know that the bytes are complete (a checksum,
    /// or a field that is stored afterwards).
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "inside the mapping");
        // SAFETY: the range is inside the mapping and `bytes` is not: a shared mapping is never
        // handed out as a slice.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.start.add(offset).as_ptr(),
                bytes.len(),
            );
        }
    }

    /// Copies bytes out of the mapping.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.len, "inside the mapping");
        // SAFETY: as for `write`, the other way round.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.start.add(offset).as_ptr(),
                bytes.as_mut_ptr(),
                bytes.len(),
            );
        }
    }

    /// Stores 64 bits so that a reader that sees them also sees what was stored before.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.u64(offset).store(value.to_le(), Ordering::Release);
    }

    /// Stores 32 bits, likewise.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.u32(offset).store(value.to_le(), Ordering::Release);
    }
}
