use std::fs::read_to_string;

/// Ticks of a second in which Linux tells times to programs, on all processors that Rust runs on.
const TICKS: f64 = 100.0;

/// Seconds that all threads of this process have computed, for itself and in the system; `None`
/// where the operating system is not Linux.
pub fn cpu_seconds() -> Option<f64> {
    parse(&read_to_string("/proc/self/stat").ok()?)
}

/// Reads `/proc/self/stat`. The name of the program, in parentheses, may have spaces.
fn parse(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    // Fields 14 and 15 of the manual page proc(5), which counts the two before the parenthesis.
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_seconds() {
        let stat = "7 (a )b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1 2 3\n";
        assert_eq!(parse(stat), Some(3.0));
        assert_eq!(parse("7 (a) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_a_time() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
    }
}
