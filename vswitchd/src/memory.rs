//! The allocator, and when memory goes back to the system.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that is not used back to the system: after the start, which needs much of it for
/// the kernel's type information, and after a large deletion.
pub fn trim() {
    // SAFETY: `mi_collect` may be called at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
