//! The readers of configurations and checkpoints, on the bytes after the first; the first says
//! which: a TOML text, a file as it is, a header with its length made good, and zeros as data.
#![no_main]

use cld_sgm::train::{checkpoint, config::Config};
use libfuzzer_sys::fuzz_target;

/// Most bytes of zeros that are put after a header.
const MOST: u64 = 1 << 22;

fn read(bytes: &[u8], more: u64) {
    let length = bytes.len() as u64 + more;
    let mut file = std::io::Read::chain(bytes, std::io::Read::take(std::io::repeat(0), more));
    match checkpoint::read_from(&mut file, length, "f") {
        Ok(c) => assert!(c.state.p.iter().chain(&c.state.ema).all(|x| x.is_finite())),
        Err(e) => assert!(!e.to_string().trim().contains('\n'), "{e}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 4 {
        0 => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            match Config::from_toml(text, "f") {
                Ok(c) => {
                    let _ = (c.diffusion(), c.loss(), c.parametrisation(), c.adam(), c.graph());
                    // NaN is not itself: compare what is written
                    let text = c.to_toml().expect("a configuration that was read can be written");
                    assert_eq!(Config::from_toml(&text, "f").and_then(|c| c.to_toml()), Ok(text));
                }
                Err(e) => assert!(!e.to_string().trim().contains('\n'), "{e}"),
            }
        }
        1 => read(bytes, 0),
        2 => read(&[&(bytes.len() as u64).to_le_bytes(), bytes].concat(), 0),
        _ => {
            // as many zeros as the first two bytes say, in units of 64
            let Some((n, header)) = bytes.split_first_chunk::<2>() else { return };
            let zeros = (64 * u64::from(u16::from_le_bytes(*n))).min(MOST);
            read(&[&(header.len() as u64).to_le_bytes(), header].concat(), zeros);
        }
    }
});
