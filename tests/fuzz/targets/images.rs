//! Every reader of images, on the bytes after the first; the first says which. PNG's header is made
//! good, so that its sum does not stop the fuzzer there.
#![no_main]

use cld_sgm::data::{ImageSet, files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let set = match which % 4 {
        0 => files::idx_images("f", bytes).and_then(|([h, w], p)| ImageSet::new("f", [1, h, w], 256, p, None)),
        1 => files::idx_labels("f", bytes).and_then(|l| ImageSet::new("f", [1, 1, 1], 256, l.clone(), Some(l))),
        2 => {
            let (mut pixels, mut labels) = (vec![], vec![]);
            files::cifar("f", bytes, &mut pixels, &mut labels)
                .and_then(|()| ImageSet::new("f", [3, 32, 32], 256, pixels, Some(labels)))
        }
        _ => {
            let mut bytes = bytes.to_vec();
            if bytes.len() > 33 {
                let sum = crc(&bytes[12..29]).to_be_bytes();
                bytes[29..33].copy_from_slice(&sum);
            }
            files::png("f", &bytes).and_then(|(shape, p)| ImageSet::new("f", shape, 256, p, None))
        }
    };
    match set {
        Ok(s) => assert!(s.len() * s.dim() == s.pixels().len() && s.pixels().len() <= bytes.len() * 1032),
        Err(e) => assert!(!e.to_string().contains('\n')),
    }
});

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |c, b| (0..8).fold(c ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 }))
}
