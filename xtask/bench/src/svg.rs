//! The comparisons as a picture for the documents.

use std::fmt::Write;

use super::contender::Role;
use super::report::{Comparison, Side};

const WIDTH: u32 = 760;
const LEFT: u32 = 180;
const BAR_HEIGHT: u32 = 14;
const GAP: u32 = 12;
/// Room right of the longest bar for its number.
const RIGHT: u32 = 90;

/// Horizontal bars of the processor time per request, one group for each scenario. A scale for
/// each group: lists of 10,000 would flatten all others.
pub(super) fn draw(comparisons: &[Comparison]) -> String {
    let mut body = String::new();
    let mut y = 40;
    for found in comparisons {
        y = group(&mut body, found, y) + GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" \
         viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"14\" fill=\"#222222\">Processor time of the server per \
         request, in microseconds (less is better)</text>\n{body}</svg>\n"
    )
}

fn group(body: &mut String, found: &Comparison, top: u32) -> u32 {
    let sides: Vec<&Side> = found.sides.iter().filter(|side| side.failure.is_none()).collect();
    let longest =
        sides.iter().map(|side| side.cpu_us_per_request).fold(f64::MIN_POSITIVE, f64::max);
    let mut y = top;
    for (index, side) in sides.iter().enumerate() {
        let name = if index == 0 { escaped(&found.scenario) } else { String::new() };
        let share = side.cpu_us_per_request / longest;
        let length = (share * f64::from(WIDTH - LEFT - RIGHT)).round();
        let base = y + BAR_HEIGHT - 3;
        // Writing to a string cannot fail.
        let _ = writeln!(
            body,
            "<text x=\"10\" y=\"{base}\" fill=\"#222222\">{name}</text>\
             <text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#555555\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{base}\" fill=\"#222222\">{:.1}</text>",
            LEFT - 6,
            escaped(&side.name),
            BAR_HEIGHT - 2,
            colour(side.role),
            f64::from(LEFT) + length + 5.0,
            side.cpu_us_per_request,
        );
        y += BAR_HEIGHT;
    }
    y
}

fn colour(role: Role) -> &'static str {
    match role {
        Role::Own => "#2166ac",
        Role::Static => "#bbbbbb",
        Role::Epoll => "#dddddd",
        Role::Peer => "#d6604d",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, role: Role, cpu_us_per_request: f64) -> Side {
        Side {
            name: name.to_owned(),
            role,
            cpu_us_per_request,
            requests_per_second: 1.0,
            user_us_per_request: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            resident_mib: 1.0,
            errors: 0,
            unanswered: 0,
            ratio: 1.0,
            ratio_low: 1.0,
            ratio_high: 1.0,
            failure: None,
        }
    }

    #[test]
    fn bars_are_as_long_as_the_costs_are_high() {
        let sides = vec![side("own", Role::Own, 20.0), side("<a&b>", Role::Peer, 40.0)];
        let scenario = "list10".to_owned();
        let picture = draw(&[Comparison { scenario, latency_rate: None, sides }]);
        let longest = WIDTH - LEFT - RIGHT;
        assert!(picture.contains(&format!("width=\"{longest}\" height=\"12\" fill=\"#d6604d\"")));
        assert!(picture.contains(&format!("width=\"{:.0}\"", f64::from(longest) / 2.0)));
        assert!(picture.contains("&lt;a&amp;b&gt;") && picture.contains(">40.0<"));
    }
}
