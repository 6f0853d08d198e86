//! A network in memory that the caller lends.

use core::ffi::{c_char, c_void};
use core::ptr;

use bitbudget_core::engine::{Engine, Input};
use bitbudget_core::image::{Image, ImageError};
use bitbudget_core::place::Places as CorePlaces;
use bitbudget_core::plan::{Plan as CorePlan, Planner};
use bitbudget_core::storage::Mapped;
use bitbudget_core::tensor::View;

use super::capacity::{ITEMS, LAYERS, LEVELS, STATE_BYTES};
use super::plan::{BB_NO_LIMIT, Layer, Limits, Places, Plan};
use super::status::Status;
use super::storage::{Read, Storage};

/// What the state and the arena are aligned to, and an image in memory.
pub const BB_ALIGN: usize = 8;

/// Is told when a layer begins and ends; layer -1 makes the input tensor of the sample. Where layers run row by
/// row, each of their turns begins and ends.
pub type Profiler = Option<unsafe extern "C" fn(context: *mut c_void, layer: i32, is_begin: bool)>;

/// Writes a row of raw pixels, `len` of them (its columns, channels next to each other), to `to`.
pub type FillRow =
    Option<unsafe extern "C" fn(context: *mut c_void, row: u32, to: *mut u8, len: usize)>;

type NetImage = Image<'static, LAYERS, LEVELS>;

/// An opened image with its planner and its engine. It lies in the state that the caller lends.
///
/// Only one of its functions may run at a time, and none in what they call back.
pub struct Net {
    image: NetImage,
    planner: Planner<LAYERS, ITEMS>,
    /// Borrows `image`.
    engine: Engine<'static, LAYERS, LEVELS, Storage>,
    arena_bytes: usize,
    profiler: Profiler,
    profiler_context: *mut c_void,
}

const _: () = assert!(
    size_of::<Net>() <= STATE_BYTES && align_of::<Net>() <= BB_ALIGN,
    "BB_STATE_BYTES and BB_ALIGN of the header are too small"
);

/// Bytes of the state that bb_open takes; at most BB_STATE_BYTES.
#[unsafe(no_mangle)]
pub const extern "C" fn bb_state_bytes() -> usize {
    size_of::<Net>()
}

/// Memory that the caller lends.
struct Lent {
    state: *mut c_void,
    state_bytes: usize,
    arena: *mut c_void,
    arena_bytes: usize,
}

impl Lent {
    /// Makes the net of an image that `set` reads, in the state.
    ///
    /// # Safety
    /// The memory is the callee's alone until the caller no longer uses the net, and so is all that `set` borrows.
    unsafe fn open(
        self,
        storage: Storage,
        net: *mut *mut Net,
        set: impl FnOnce(&mut NetImage) -> Result<(), ImageError>,
    ) -> Status {
        if self.state.is_null() || self.arena.is_null() || net.is_null() {
            return Status::Argument;
        }
        let state: *mut Net = self.state.cast();
        if !state.is_aligned() || self.state_bytes < size_of::<Net>() {
            return Status::State;
        }
        // SAFETY: the memory is large enough, aligned and the callee's
        let image = unsafe {
            let image = &raw mut (*state).image;
            image.write(const { NetImage::empty() });
            &mut *image
        };
        if let Err(error) = set(image) {
            return error.into();
        }
        // SAFETY: from here on the image is only read; the arena is the callee's
        let (image, arena) = unsafe {
            let image: &'static NetImage = &(*state).image;
            let arena = ptr::slice_from_raw_parts_mut(self.arena.cast(), self.arena_bytes);
            (image, &mut *arena)
        };
        // SAFETY: as above; `write` reads nothing of what was there
        unsafe {
            match Engine::with_storage(image, storage, arena) {
                Ok(engine) => (&raw mut (*state).engine).write(engine),
                Err(error) => return error.into(),
            }
            let planner = &raw mut (*state).planner;
            planner.write(const { Planner::empty() });
            (*planner).set_network(image.network(), CorePlaces::Ram);
            (&raw mut (*state).arena_bytes).write(self.arena_bytes);
            (&raw mut (*state).profiler).write(None);
            (&raw mut (*state).profiler_context).write(ptr::null_mut());
            net.write(state);
        }
        Status::Ok
    }
}

/// Opens an image in memory: checks all of it, and makes `*net` ready for bb_replan.
///
/// `image`, `state` and `arena` stay lent, and where they are, until the net is no longer used; there is nothing
/// to close. `state` takes bb_state_bytes(), the arena what plans shall take at most (export c tells the least).
///
/// # Safety
/// The pointers are NULL or point to as many bytes; nothing else uses `state` and `arena` from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_open(
    state: *mut c_void,
    state_bytes: usize,
    image: *const c_void,
    image_bytes: usize,
    arena: *mut c_void,
    arena_bytes: usize,
    net: *mut *mut Net,
) -> Status {
    if image.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(image.cast(), image_bytes) };
    let lent = Lent {
        state,
        state_bytes,
        arena,
        arena_bytes,
    };
    // SAFETY: the caller's promise
    unsafe {
        lent.open(Storage::Mapped(Mapped(bytes)), net, |image| {
            image.set_bytes(bytes)
        })
    }
}

/// Opens an image that is not in memory, such as in a flash behind SPI: `read` reads the storage of
/// `storage_bytes`, at whose beginning the image lies. What is before its blocks is kept in `meta`
/// (bb_info.meta_bytes); weights always lie in the arena. Else as bb_open.
///
/// # Safety
/// As of bb_open; `read` may be called with `context` as long as the net is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_open_storage(
    state: *mut c_void,
    state_bytes: usize,
    read: Read,
    context: *mut c_void,
    storage_bytes: usize,
    meta: *mut c_void,
    meta_bytes: usize,
    arena: *mut c_void,
    arena_bytes: usize,
    net: *mut *mut Net,
) -> Status {
    let Some(read) = read else {
        return Status::Argument;
    };
    if meta.is_null() {
        return Status::Argument;
    }
    let mut storage = Storage::Callback {
        read,
        context,
        bytes: storage_bytes,
    };
    // SAFETY: the caller's promise
    let meta: &'static mut [u8] =
        unsafe { core::slice::from_raw_parts_mut(meta.cast(), meta_bytes) };
    let lent = Lent {
        state,
        state_bytes,
        arena,
        arena_bytes,
    };
    // SAFETY: the caller's promise
    unsafe { lent.open(storage, net, |image| image.set_storage(&mut storage, meta)) }
}

/// The parts of a net: they are borrowed one by one, for the engine borrows the image.
///
/// # Safety
/// `net` is one that was opened, and nothing else uses it.
unsafe fn parts<'n>(
    net: *mut Net,
) -> (
    &'n NetImage,
    &'n mut Planner<LAYERS, ITEMS>,
    &'n mut Engine<'static, LAYERS, LEVELS, Storage>,
) {
    // SAFETY: the caller's promise; no reference to the whole is made
    unsafe { (&(*net).image, &mut (*net).planner, &mut (*net).engine) }
}

/// Writes a plan for the caller, if that is wanted.
///
/// # Safety
/// `to` is NULL or points to a bb_plan.
unsafe fn tell(plan: &CorePlan<LAYERS>, image: &NetImage, to: *mut Plan) {
    if !to.is_null() {
        let prices = &image.network().prices;
        // SAFETY: the caller's promise
        unsafe { to.write(Plan::new(plan, |price| prices.to_loss(price))) };
    }
}

/// The best plan within the limits; a NULL limits nothing but the arena.
///
/// # Safety
/// `net` is one that was opened, `limits` is NULL or points to a bb_limits.
unsafe fn solve(net: *mut Net, limits: *const Limits) -> Result<CorePlan<LAYERS>, Status> {
    let limits = if limits.is_null() {
        Limits {
            ram_bytes: BB_NO_LIMIT,
            cycles: BB_NO_LIMIT,
            node_limit: BB_NO_LIMIT,
        }
    } else {
        // SAFETY: the caller's promise
        unsafe { *limits }
    };
    // SAFETY: the caller's promise
    let (image, planner, _) = unsafe { parts(net) };
    if limits.cycles != BB_NO_LIMIT && !image.network().prices.has_cycles() {
        return Err(Status::NotStored);
    }
    // SAFETY: the caller's promise
    let within = limits.within(unsafe { (*net).arena_bytes });
    planner.check(image.network(), &within)?;
    let plan = planner.plan(image.network(), within, limits.node_limit);
    plan.map_err(|_| Status::Limits)
}

/// Says where the weights of the plans to come may lie, a bb_places; in the beginning BB_PLACES_RAM.
///
/// # Safety
/// `net` is NULL or one that was opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_set_places(net: *mut Net, places: u32) -> Status {
    let (Some(places), false) = (Places::of(places), net.is_null()) else {
        return Status::Argument;
    };
    // SAFETY: the caller's promise
    let (_, planner, engine) = unsafe { parts(net) };
    if places != CorePlaces::Ram && !engine.is_mapped() {
        return Status::NotMapped;
    }
    planner.set_places(places);
    Status::Ok
}

/// Finds the plan of least predicted loss within the limits and puts it in place: weights are copied to the arena,
/// or moved there, as it wants. The first call takes longest. Call it again whenever memory comes or goes.
/// `limits` may be NULL: anything that the arena has room for; `plan` may be NULL.
///
/// # Safety
/// `net` is NULL or one that was opened; the other pointers are NULL or point to such a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_replan(
    net: *mut Net,
    limits: *const Limits,
    plan: *mut Plan,
) -> Status {
    if net.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    match unsafe { solve(net, limits) } {
        // SAFETY: the caller's promise
        Ok(solved) => unsafe { put(net, solved, plan) },
        Err(status) => status,
    }
}

/// Puts a plan in place and tells it. Not inlined, so that the memory of the search is not kept.
///
/// # Safety
/// As of [`solve`] and [`tell`].
#[inline(never)]
unsafe fn put(net: *mut Net, solved: CorePlan<LAYERS>, plan: *mut Plan) -> Status {
    // SAFETY: the caller's promise
    let (image, _, engine) = unsafe { parts(net) };
    match engine.load(solved) {
        Ok(loaded) => {
            // SAFETY: the caller's promise
            unsafe { tell(loaded, image, plan) };
            Status::Ok
        }
        Err(error) => error.into(),
    }
}

/// Finds that plan and changes nothing.
///
/// # Safety
/// As of bb_replan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_solve(net: *mut Net, limits: *const Limits, plan: *mut Plan) -> Status {
    if net.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe {
        match solve(net, limits) {
            Ok(solved) => {
                tell(&solved, parts(net).0, plan);
                Status::Ok
            }
            Err(status) => status,
        }
    }
}

/// Looks up the best plan within so many bytes of the arena among those that the image carries, and puts it in
/// place: no search. All weights lie in the arena. `plan` may be NULL.
///
/// # Safety
/// As of bb_replan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_replan_stored(
    net: *mut Net,
    ram_bytes: u64,
    plan: *mut Plan,
) -> Status {
    if net.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    let (image, arena_bytes) = unsafe { (parts(net).0, (*net).arena_bytes) };
    let Some(stored) = image.stored_plans() else {
        return Status::NotStored;
    };
    match stored.within(ram_bytes.min(arena_bytes as u64)) {
        // SAFETY: the caller's promise
        Ok(found) => unsafe { put(net, found, plan) },
        Err(_) => Status::Limits,
    }
}

/// Tells the least bytes of an arena that any plan takes, with the places that are set.
///
/// # Safety
/// `net` is NULL or one that was opened, `bytes` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_least_ram(net: *mut Net, bytes: *mut u64) -> Status {
    if net.is_null() || bytes.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe {
        let (image, planner, _) = parts(net);
        bytes.write(planner.find_smallest(image.network()).total);
    }
    Status::Ok
}

/// Runs the network on a sample, and watches its steps if there is a profiler.
///
/// # Safety
/// `net` is one that was opened.
unsafe fn run(net: *mut Net, input: Input<'_>) -> Status {
    // SAFETY: the caller's promise
    let (engine, profiler, context) =
        unsafe { (parts(net).2, (*net).profiler, (*net).profiler_context) };
    let outcome = engine.infer_watched(input, |tensor, step| {
        let Some(profiler) = profiler else {
            return step();
        };
        let layer = tensor as i32 - 1;
        // SAFETY: the caller of bb_set_profiler promised that it may be called so
        unsafe {
            profiler(context, layer, true);
            step();
            profiler(context, layer, false);
        }
    });
    Status::of(outcome.map(|_| ()))
}

/// Runs the network on a sample of raw bytes, such as pixels: bb_info.input_len of them, in the order of its shape.
/// They become real numbers as the image says (bitbudget profile's --scale, --mean and --std).
///
/// # Safety
/// `net` is NULL or one that was opened, `sample` is NULL or points to `len` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_run_u8(net: *mut Net, sample: *const u8, len: usize) -> Status {
    if net.is_null() || sample.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe { run(net, Input::U8(core::slice::from_raw_parts(sample, len))) }
}

/// Runs the network on a sample of raw values that are signed, such as features of a sound. They become real
/// numbers as bytes do.
///
/// # Safety
/// As of bb_run_u8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_run_i8(net: *mut Net, sample: *const i8, len: usize) -> Status {
    if net.is_null() || sample.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe { run(net, Input::I8(core::slice::from_raw_parts(sample, len))) }
}

/// Runs the network on a sample of raw values that are no bytes. They become real numbers as bytes do.
///
/// # Safety
/// As of bb_run_u8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_run_f32(net: *mut Net, sample: *const f32, len: usize) -> Status {
    if net.is_null() || sample.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe { run(net, Input::F32(core::slice::from_raw_parts(sample, len))) }
}

/// Runs the network on a sample that comes row by row, such as from a camera: `fill` is asked for each row of raw
/// bytes, in order, when it is needed, and writes it where the input lies. There is no frame in memory. A profiler
/// is not called.
///
/// # Safety
/// `net` is NULL or one that was opened; `fill` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_run_rows(net: *mut Net, fill: FillRow, context: *mut c_void) -> Status {
    let (Some(fill), false) = (fill, net.is_null()) else {
        return Status::Argument;
    };
    // SAFETY: the caller's promise
    let engine = unsafe { parts(net).2 };
    let outcome = engine.infer_rows(|row, to| {
        // SAFETY: the caller's promise; `to` may be written
        unsafe { fill(context, row.into(), to.as_mut_ptr(), to.len()) };
    });
    Status::of(outcome.map(|_| ()))
}

/// The output of the last inference.
///
/// # Safety
/// `net` is one that was opened.
unsafe fn output<'n>(net: *mut Net) -> &'n [f32] {
    // SAFETY: the caller's promise
    let (image, _, engine) = unsafe { parts(net) };
    match engine.tensor(image.network().layers.len()) {
        Some(View::F32(output)) => output,
        Some(View::I8(..)) | None => &[],
    }
}

/// The output of the last inference, in the arena: read it before the next bb_ function of the net is called. NULL
/// without a plan.
///
/// # Safety
/// `net` is NULL or one that was opened, `len` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_output(net: *mut Net, len: *mut usize) -> *const f32 {
    let output: &[f32] = match net.is_null() {
        true => &[],
        // SAFETY: the caller's promise
        false => unsafe { output(net) },
    };
    if !len.is_null() {
        // SAFETY: the caller's promise
        unsafe { len.write(output.len()) };
    }
    match output {
        [] => ptr::null(),
        _ => output.as_ptr(),
    }
}

/// The place of the largest element of the output: for a classifier, the class. -1 without a plan.
///
/// # Safety
/// `net` is NULL or one that was opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_argmax(net: *mut Net) -> i32 {
    if net.is_null() {
        return -1;
    }
    // SAFETY: the caller's promise
    let output = unsafe { output(net) }.iter().enumerate();
    // of equal ones the first
    let largest = output.reduce(|best, new| if new.1 > best.1 { new } else { best });
    largest.map_or(-1, |(place, _)| place as i32)
}

/// What the plan leaves of the arena: the caller's until the next bb_replan. `bytes` may be NULL.
///
/// # Safety
/// `net` is NULL or one that was opened, `bytes` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_spare(net: *mut Net, bytes: *mut usize) -> *mut c_void {
    let spare: &mut [u8] = match net.is_null() {
        true => &mut [],
        // SAFETY: the caller's promise
        false => unsafe { parts(net).2.spare() },
    };
    if !bytes.is_null() {
        // SAFETY: the caller's promise
        unsafe { bytes.write(spare.len()) };
    }
    spare.as_mut_ptr().cast()
}

/// Tells a layer's shape, and what the plan has for it.
///
/// # Safety
/// `net` is NULL or one that was opened, `layer` is NULL or points to a bb_layer_info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_layer(net: *mut Net, index: u32, layer: *mut Layer) -> Status {
    if net.is_null() || layer.is_null() {
        return Status::Argument;
    }
    let index = index as usize;
    // SAFETY: the caller's promise
    let (image, _, engine) = unsafe { parts(net) };
    let network = image.network();
    let Some(of) = network.layers.get(index) else {
        return Status::Argument;
    };
    let chosen = engine.plan().and_then(|plan| {
        let level = (*plan.levels.get(index)?)?;
        Some((level, *plan.places.get(index)?))
    });
    let told = match chosen {
        Some((level, place)) => {
            let bytes = network.block_bytes(index, level).unwrap_or(0);
            Layer::new(level.name(), bytes, Some(place), of.output.into())
        }
        None => Layer::new("", 0, None, of.output.into()),
    };
    // SAFETY: the caller's promise
    unsafe { layer.write(told) };
    Status::Ok
}

/// Writes a layer's name as text to `to`, as much as `size` bytes have room for, and returns the length of the whole
/// name, as snprintf does.
///
/// # Safety
/// `net` is NULL or one that was opened; `to` is NULL or points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_layer_name(
    net: *mut Net,
    index: u32,
    to: *mut c_char,
    size: usize,
) -> usize {
    let name = match net.is_null() {
        true => "",
        // SAFETY: the caller's promise
        false => unsafe { parts(net).0.name(index as usize) },
    };
    if !to.is_null() && size > 0 {
        let len = name.len().min(size - 1);
        // SAFETY: the caller's promise; the two do not overlap
        unsafe {
            ptr::copy_nonoverlapping(name.as_ptr(), to.cast(), len);
            to.add(len).write(0);
        }
    }
    name.len()
}

/// Has a function called at the begin and the end of every layer; NULL: none any more.
///
/// # Safety
/// `net` is NULL or one that was opened; `profiler` may be called with `context` in every inference to come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_set_profiler(
    net: *mut Net,
    profiler: Profiler,
    context: *mut c_void,
) -> Status {
    if net.is_null() {
        return Status::Argument;
    }
    // SAFETY: the caller's promise
    unsafe {
        (*net).profiler = profiler;
        (*net).profiler_context = context;
    }
    Status::Ok
}
