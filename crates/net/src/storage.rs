//! Storage for buffers that bulk goes through: lent while bytes flow, taken back when a session falls idle.
//! A few pieces are kept, already initialised; the rest goes back to the system, so idle sessions cost no buffers.

use std::sync::Mutex;

/// One read of a socket. Large, because system calls are most of what a relay costs.
pub const INPUT_SIZE: usize = 256 * 1024;
/// What may wait to be sent ([`adit_ssh::OUTPUT_LOW`]) and one more read of a visitor with its packets' overhead.
pub const OUTPUT_SIZE: usize = 1024 * 1024;
/// One message of a mesh circuit on its way in and on its way out: 32 KiB and its frame, twice, with room to read ahead.
pub const CIRCUIT_SIZE: usize = 96 * 1024;
/// Pieces kept of each size: as many sessions can be busy at one instant on a few cores.
const KEPT: usize = 8;

static INPUTS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static OUTPUTS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static CIRCUITS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Lends storage of [`INPUT_SIZE`].
pub fn lend_input() -> Vec<u8> {
    lend(&INPUTS, INPUT_SIZE)
}

/// Lends storage of [`OUTPUT_SIZE`].
pub fn lend_output() -> Vec<u8> {
    lend(&OUTPUTS, OUTPUT_SIZE)
}

/// Lends storage of [`CIRCUIT_SIZE`].
pub fn lend_circuit() -> Vec<u8> {
    lend(&CIRCUITS, CIRCUIT_SIZE)
}

/// Takes storage back; pieces of another size are freed.
pub fn give_back(storage: Vec<u8>) {
    let shelf = match storage.len() {
        INPUT_SIZE => &INPUTS,
        OUTPUT_SIZE => &OUTPUTS,
        CIRCUIT_SIZE => &CIRCUITS,
        _ => return,
    };
    if let Ok(mut shelf) = shelf.lock()
        && shelf.len() < KEPT
    {
        shelf.push(storage);
    }
}

fn lend(shelf: &Mutex<Vec<Vec<u8>>>, size: usize) -> Vec<u8> {
    let kept = shelf.lock().ok().and_then(|mut shelf| shelf.pop());
    kept.unwrap_or_else(|| vec![0; size])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_given_back_is_lent_again_and_odd_sizes_are_not_kept() {
        let storage = lend_input();
        let address = storage.as_ptr();
        give_back(storage);
        let mut lent: Vec<_> = (0..KEPT).map(|_| lend_input()).collect();
        assert!(lent.iter().any(|storage| storage.as_ptr() == address));
        assert!(lent.iter().all(|storage| storage.len() == INPUT_SIZE));
        lent.push(vec![0; 17]);
        lent.into_iter().for_each(give_back);
        assert!(INPUTS.lock().unwrap().iter().all(|storage| storage.len() == INPUT_SIZE));
    }
}
