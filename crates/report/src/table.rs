//! Tables, and tables of whatever JSON holds.

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::number;

/// A table of text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns; may be empty.
    pub head: Vec<String>,
    /// Rows; the first cell of each is its name.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Names beside values, without names of columns.
    pub fn facts<N: Into<String>, V: Into<String>>(rows: impl IntoIterator<Item = (N, V)>) -> Self {
        let rows = rows
            .into_iter()
            .map(|(name, value)| vec![name.into(), value.into()]);
        Self {
            head: Vec::new(),
            rows: rows.collect(),
        }
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            div.table {
                table.facts[self.head.is_empty()] {
                    @if !self.head.is_empty() {
                        thead { tr { @for name in &self.head { th scope="col" { (name) } } } }
                    }
                    tbody {
                        @for row in &self.rows {
                            tr {
                                @for (place, cell) in row.iter().enumerate() {
                                    @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Items of a list that are shown.
const SHOWN: usize = 40;
/// Tables within tables that are shown.
const DEPTH: usize = 3;

/// What JSON says, as tables.
pub(crate) fn json(value: &Value) -> Markup {
    nested(value, 0)
}

fn nested(value: &Value, depth: usize) -> Markup {
    match value {
        Value::Object(fields) if depth < DEPTH => html! {
            div.table {
                table.facts {
                    tbody {
                        @for (name, value) in fields {
                            tr {
                                th scope="row" { (name.replace('_', " ")) }
                                td { (nested(value, depth + 1)) }
                            }
                        }
                    }
                }
            }
        },
        Value::Array(items) => list(items, depth),
        value => html! { (inline(value)) },
    }
}

/// Objects with the same keys make a table; the rest is a line.
fn list(items: &[Value], depth: usize) -> Markup {
    let rows: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let columns = rows.first().map(|row| row.keys().collect::<Vec<_>>());
    let left = items.len().saturating_sub(SHOWN);
    match columns {
        Some(columns)
            if depth < DEPTH
                && rows.len() == items.len()
                && rows
                    .iter()
                    .all(|row| row.keys().eq(columns.iter().copied())) =>
        {
            let head = columns.iter().map(|name| name.replace('_', " "));
            let cells = |row: &&Map<String, Value>| row.values().map(inline).collect();
            let table = Table {
                head: head.collect(),
                rows: rows.iter().take(SHOWN).map(cells).collect(),
            };
            html! {
                (table.markup())
                @if left > 0 { p.dim { "and " (left) " more rows" } }
            }
        }
        _ => html! { (inline_list(items)) },
    }
}

fn inline_list(items: &[Value]) -> String {
    let mut shown: Vec<String> = items.iter().take(SHOWN).map(inline).collect();
    if items.len() > SHOWN {
        shown.push(format!("… ({} in all)", items.len()));
    }
    shown.join(", ")
}

/// A value on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(value) => match value.as_f64() {
            Some(float) if value.is_f64() => number(float),
            _ => value.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let nested = items.iter().any(|item| item.is_array() || item.is_object());
            let line = inline_list(items);
            if nested { format!("[{line}]") } else { line }
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", inline(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn objects_alike_make_one_table_and_all_text_is_escaped() {
        let shown = json(&value!({
            "curve": [{ "eta": 0.05, "note": "<b>" }, { "eta": 0.1, "note": null }],
            "a&b": true,
        }))
        .into_string();
        assert_eq!(shown.matches("<th scope=\"col\">eta</th>").count(), 1);
        assert!(shown.contains("&lt;b&gt;") && shown.contains("a&amp;b"));
        assert!(!shown.contains("<b>"));
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let text = inline(&value!((0..100).collect::<Vec<_>>()));
        assert!(text.ends_with("39, … (100 in all)"), "{text}");
    }
}
