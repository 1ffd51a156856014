//! Measures the machine's peak arithmetic, in G operations per second.
//!
//!     cargo run --release -p rankforge-kernels --example peak -- \
//!         [--threads N] [--isa NAME] [--json]
#![expect(clippy::disallowed_methods, reason = "a program with arguments that prints")]

use rankforge_kernels::{Arithmetic, Device, Isa, Workers, peak};
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut json, mut threads, mut isa) = (false, None, Isa::best());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--threads" => {
                threads = Some(arguments.next().ok_or("--threads: expected a number")?.parse()?);
            }
            "--isa" => isa = arguments.next().ok_or("--isa: expected a name")?.parse()?,
            other => {
                let expected = "--threads N, --isa NAME or --json";
                return Err(format!("expected {expected}, got {other:?}").into());
            }
        }
    }
    let device = Device::cpu_on(isa, &Workers::new(threads)?)?;
    let rates =
        [("fp32", Arithmetic::Float32), ("bf16", Arithmetic::BFloat16), ("int8", Arithmetic::Int8)];
    let rates = rates.map(|(name, arithmetic)| (name, peak(&device, arithmetic)));
    let mut out = std::io::stdout().lock();
    if json {
        let field = |(name, rate): &(&str, Option<f64>)| match rate {
            Some(rate) => format!("\"{name}\": {:.1}", rate / 1e9),
            None => format!("\"{name}\": null"),
        };
        writeln!(out, "{{{}}}", rates.each_ref().map(field).join(", "))?;
        return Ok(());
    }
    writeln!(out, "{device:?}")?;
    for (name, rate) in rates {
        match rate {
            Some(rate) => writeln!(out, "{name}  {:7.1} G/s", rate / 1e9)?,
            None => writeln!(out, "{name}  no instruction for it")?,
        }
    }
    Ok(())
}
