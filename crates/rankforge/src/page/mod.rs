//! HTML pages that need no other file, and the charts on them.

pub(crate) mod chart;

use crate::error::Error;
use minijinja::{Environment, Value};

/// The templates; their names end with `.html`, so every value is escaped.
const TEMPLATES: [(&str, &str); 5] = [
    ("base.html", include_str!("base.html")),
    ("changes.html", include_str!("changes.html")),
    ("cascade.html", include_str!("cascade.html")),
    ("training.html", include_str!("training.html")),
    ("compare.html", include_str!("compare.html")),
];

/// The page of a template.
///
/// # Errors
/// When it cannot be rendered.
pub(crate) fn render(template: &str, values: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the template is well-formed");
    }
    environment.add_filter("grade", |grade: f64| grade.to_string());
    environment.add_filter("rank", |rank: Option<usize>| {
        rank.map_or("–".to_owned(), |rank| rank.to_string())
    });
    environment
        .get_template(template)
        .and_then(|template| template.render(values))
        .map_err(|error| Error::Page { message: format!("{error:#}") })
}

/// Captions and charts for a template; the charts are markup.
pub(crate) fn figures(charts: impl IntoIterator<Item = (String, String)>) -> Value {
    let figures = charts.into_iter().map(|(caption, svg)| {
        minijinja::context! { caption, svg => Value::from_safe_string(svg) }
    });
    figures.collect()
}
