use cld_sgm::simd::conv::*;
use std::time::Instant;
fn main() {
    // peak
    for (c, s) in [(32, 28), (64, 28), (64, 14), (128, 14)] {
        let input = Images { n: 16, channels: c, height: s, width: s };
        let conv = Conv::new(input, c, 3, 1).unwrap();
        let x = vec![0.5f32; input.len()];
        let w = vec![0.25f32; conv.weights()];
        let b = vec![0.1f32; c];
        let mut y = vec![0f32; conv.output.len()];
        let mut dw = vec![0f32; conv.weights()];
        let mut best = [f64::MAX; 2];
        for _ in 0..40 {
            let t = Instant::now();
            conv.forward(&x, &w, &b, &mut y);
            best[0] = best[0].min(t.elapsed().as_secs_f64());
            let t = Instant::now();
            conv.weight_gradient(&x, &y, &mut dw);
            best[1] = best[1].min(t.elapsed().as_secs_f64());
        }
        println!("{c} {s}: forward {:.1} GFLOP/s, weights {:.1}", conv.flop() / best[0] * 1e-9, conv.flop() / best[1] * 1e-9);
    }
}
