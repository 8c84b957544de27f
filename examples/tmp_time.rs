use cld_sgm::nn::*;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let (size, rows) = (a[0], a[1]);
    let g: Arc<Graph<f32>> = Arc::new(UNet::small(2, 1, [size, size]).build().unwrap());
    println!("params {} padded {}", g.layout().count(), g.layout().len());
    let p = g.layout().start::<f32>(1);
    let mut turned = vec![0.0; p.len()];
    let s = Instant::now();
    g.turn(&p, &mut turned);
    println!("turn {:.2} ms", s.elapsed().as_secs_f64() * 1e3);
    let mut session = Session::new(g.clone(), rows).unwrap();
    let x: Vec<f32> = (0..rows * 2 * size * size).map(|i| ((i * 7919 % 1000) as f32) / 500.0 - 1.0).collect();
    let t: Vec<f64> = (0..rows).map(|i| 0.1 + 0.8 * i as f64 / rows as f64).collect();
    let mut y = vec![0.0; rows * size * size];
    let mut grads = vec![0.0; p.len()];
    let mut best = [f64::MAX; 2];
    let names = g.layers();
    let mut prof = vec![[f64::MAX; 2]; names.len()];
    for _ in 0..10 {
        let s = Instant::now();
        let mut last = s;
        session.forward_with(&p, &x, &t, &mut y, &mut |i| {
            let n = Instant::now();
            prof[i][0] = prof[i][0].min((n - last).as_secs_f64());
            last = n;
        });
        best[0] = best[0].min(s.elapsed().as_secs_f64());
        let s = Instant::now();
        let mut last = s;
        session.backward_with(&p, &turned, &y.clone(), &mut grads, None, &mut |i| {
            let n = Instant::now();
            prof[i][1] = prof[i][1].min((n - last).as_secs_f64());
            last = n;
        });
        best[1] = best[1].min(s.elapsed().as_secs_f64());
    }
    let flop: f64 = names.iter().map(|n| n.1).sum::<f64>() * rows as f64;
    println!("MFLOP/sample {:.1}", flop / rows as f64 / 1e6);
    println!(
        "forward {:.3} ms/sample {:.0} GFLOP/s; backward {:.3} ms/sample {:.0} GFLOP/s; bytes {} MiB",
        best[0] * 1e3 / rows as f64,
        flop / best[0] / 1e9,
        best[1] * 1e3 / rows as f64,
        2.0 * flop / best[1] / 1e9,
        session.bytes() >> 20
    );
    if a.len() > 2 {
        for (n, t) in names.iter().zip(prof) {
            println!(
                "{:18} {:8.2} us {:8.2} us  {:6.1} {:6.1}",
                n.0,
                t[0] * 1e6 / rows as f64,
                t[1] * 1e6 / rows as f64,
                n.1 * rows as f64 / t[0] / 1e9,
                2.0 * n.1 * rows as f64 / t[1] / 1e9
            );
        }
    }
}
