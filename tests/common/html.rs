//! HTML as a flat list of elements, read by a tokenizer that follows the standard; nothing is mended.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::{cell::RefCell, collections::BTreeMap};

use html5gum::{Token, Tokenizer};

/// An element, where it stands, and all text within.
#[derive(Debug)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// Names of the elements around it, and the identifiers they have (`section#data`), outermost
    /// first.
    pub around: Vec<String>,
    text: RefCell<String>,
}

impl Element {
    pub fn text(&self) -> String {
        self.text.borrow().clone()
    }

    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A whole page.
#[derive(Debug)]
pub struct Html(pub Vec<Element>);

impl Html {
    /// Reads a page. Panics unless it is well-formed: no error of the tokenizer, and every element
    /// ends where it should.
    pub fn read(text: &str) -> Self {
        const VOID: [&str; 4] = ["meta", "link", "img", "br"];
        let (mut elements, mut open) = (Vec::<Element>::new(), Vec::<usize>::new());
        let own = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for token in Tokenizer::new(text) {
            match token.unwrap() {
                Token::StartTag(tag) => {
                    let name = own(&tag.name);
                    let attributes = tag.attributes.iter();
                    let around = open.iter().map(|at| {
                        let element: &Element = &elements[*at];
                        format!("{}#{}", element.name, element.attribute("id"))
                    });
                    let around = around.collect();
                    if !tag.self_closing && !VOID.contains(&name.as_str()) {
                        open.push(elements.len());
                    }
                    elements.push(Element {
                        name,
                        attributes: attributes.map(|(k, v)| (own(k), own(v))).collect(),
                        around,
                        text: RefCell::default(),
                    });
                }
                Token::EndTag(tag) => {
                    let begun = &elements[open.pop().expect("an end without a beginning")];
                    assert_eq!(begun.name, own(&tag.name), "inside {:?}", begun.around);
                }
                Token::String(text) => {
                    for at in &open {
                        elements[*at].text.borrow_mut().push_str(&own(&text));
                    }
                }
                Token::Doctype(_) => assert!(elements.is_empty()),
                Token::Comment(_) => {}
                Token::Error(error) => panic!("{error:?}"),
            }
        }
        assert!(open.is_empty());
        Self(elements)
    }

    /// Elements of this name, in the section of that identifier (or anywhere).
    pub fn all(&self, section: &str, name: &str) -> Vec<&Element> {
        let section = format!("section#{section}");
        let within = |element: &&Element| {
            element.name == name && (section == "section#" || element.around.contains(&section))
        };
        self.0.iter().filter(within).collect()
    }

    /// The text of all elements of this class, in the section of that identifier (or anywhere).
    pub fn class(&self, section: &str, class: &str) -> String {
        let section = format!("section#{section}");
        let within = |element: &&Element| {
            element.attribute("class") == class
                && (section == "section#" || element.around.contains(&section))
        };
        self.0.iter().filter(within).map(Element::text).collect()
    }
}
