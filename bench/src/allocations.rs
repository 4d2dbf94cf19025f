//! How often a request allocates.
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::harness::Table;
use crate::http;

struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(size: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
    }
}

// SAFETY: it hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const REQUESTS: u64 = 1_000;

pub(crate) fn run() {
    http::runtime().block_on(async {
        for (requests, apps) in http::all_twice().await {
            let table = Table::new("allocations", requests);
            for (name, app) in apps {
                let [calls, bytes] = per_request(&app).await;
                table.add(name, "allocations", "", &[calls]);
                table.add(name, "asked for", "bytes", &[bytes]);
            }
        }
    });
}

/// Allocations and the bytes they asked for.
async fn per_request(app: &http::App) -> [f64; 2] {
    app.requests(REQUESTS).await;
    ALLOCATIONS.store(0, Ordering::Relaxed);
    BYTES.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    app.requests(REQUESTS).await;
    COUNTING.store(false, Ordering::Relaxed);
    [&ALLOCATIONS, &BYTES].map(|count| count.load(Ordering::Relaxed) as f64 / REQUESTS as f64)
}
