//! `Signature-Input` and `Signature` (RFC 9421 section 4), with one signature.
//!
//! Structured Fields (RFC 8941) as far as they are needed: anything else is refused, never passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::components::Component;

/// Components that one signature may cover.
const MAX_COMPONENTS: usize = 64;

/// What a signature says of itself.
#[derive(Debug, PartialEq)]
pub struct Input {
    label: String,
    /// What it covers, in order.
    pub components: Vec<Component>,
    /// When it was made, in seconds since the Unix epoch.
    pub created: i64,
    /// When it ends.
    pub expires: Option<i64>,
    /// Whose key it was made by.
    pub key_id: String,
    /// The parameters as they are signed, in order.
    parameters: String,
}

impl Input {
    /// Reads `Signature-Input`.
    pub fn parse(source: &str) -> Result<Self, &'static str> {
        let mut reader = Reader(source.trim_matches([' ', '\t']));
        let label = reader.key()?.to_owned();
        reader.expect('=')?;
        let components = reader.components()?;
        let mut input =
            Self { label, components, created: 0, expires: None, key_id: String::new(), parameters: String::new() };
        let mut names: Vec<&str> = Vec::new();
        while reader.skip(';') {
            reader.spaces();
            let name = reader.key()?;
            if names.contains(&name) {
                return Err("a parameter is there more than once");
            }
            names.push(name);
            reader.expect('=')?;
            let written = match name {
                "created" => reader.integer().map(|time| written(time, &mut input.created))?,
                "expires" => reader.integer().map(|time| written(time, input.expires.insert(0)))?,
                "keyid" => reader.text(&mut input.key_id)?,
                "nonce" | "tag" => reader.text(&mut String::new())?,
                "alg" => {
                    let mut algorithm = String::new();
                    let written = reader.text(&mut algorithm)?;
                    if algorithm != "hmac-sha256" {
                        return Err("its `alg` is not `hmac-sha256`");
                    }
                    written
                }
                _ => return Err("it has a parameter that is not known"),
            };
            input.parameters.push_str(&format!(";{name}={written}"));
        }
        match reader.0 {
            "" if !names.contains(&"created") => Err("it has no `created`"),
            "" if !names.contains(&"keyid") => Err("it has no `keyid`"),
            "" => Ok(input),
            rest if rest.trim_start_matches([' ', '\t']).starts_with(',') => Err("there is more than one"),
            _ => Err("something follows its parameters"),
        }
    }

    /// The parameters as they are signed.
    pub fn parameters(&self) -> String {
        let components: Vec<_> = self.components.iter().map(|component| format!("\"{component}\"")).collect();
        format!("({}){}", components.join(" "), self.parameters)
    }

    /// Reads `Signature`, which has one of the same label.
    pub fn signature(&self, source: &str) -> Result<Vec<u8>, &'static str> {
        let (label, value) = source.trim_matches([' ', '\t']).split_once('=').ok_or("`Signature` has no label")?;
        if label != self.label {
            return Err("`Signature` has another label than `Signature-Input`");
        }
        let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
        value.and_then(|value| STANDARD.decode(value).ok()).ok_or("`Signature` is not `label=:base64:`")
    }
}

fn written(time: i64, place: &mut i64) -> String {
    *place = time;
    time.to_string()
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn skip(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), &'static str> {
        if self.skip(c) { Ok(()) } else { Err("`Signature-Input` cannot be read") }
    }

    fn spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn take(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Result<&'a str, &'static str> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '*');
        let key = self.take(is_part);
        let begins_well = key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
        if begins_well { Ok(key) } else { Err("`Signature-Input` cannot be read") }
    }

    fn integer(&mut self) -> Result<i64, &'static str> {
        let digits = self.take(|c| c.is_ascii_digit());
        let has_no_zero_before = digits == "0" || !digits.starts_with('0');
        let number = digits.parse().ok().filter(|_| has_no_zero_before && digits.len() <= 15);
        number.ok_or("a time is no number of seconds")
    }

    /// Reads a string into `place`, and gives it as it is written.
    fn text(&mut self, place: &mut String) -> Result<String, &'static str> {
        self.expect('"')?;
        let mut escaped = false;
        for (at, c) in self.0.char_indices() {
            match c {
                ' '..='~' if escaped && !matches!(c, '"' | '\\') => break,
                ' '..='~' if escaped => {
                    escaped = false;
                    place.push(c);
                }
                '\\' => escaped = true,
                '"' => {
                    let (written, rest) = self.0.split_at(at);
                    self.0 = rest.strip_prefix('"').unwrap_or_default();
                    return Ok(format!("\"{written}\""));
                }
                ' '..='~' => place.push(c),
                _ => break,
            }
        }
        Err("a string in `Signature-Input` cannot be read")
    }

    fn components(&mut self) -> Result<Vec<Component>, &'static str> {
        self.expect('(')?;
        let mut components = Vec::new();
        loop {
            self.spaces();
            if self.skip(')') {
                return Ok(components);
            }
            let mut name = String::new();
            self.text(&mut name)?;
            let component = Component::parse(&name).ok_or("it covers a component that is not known")?;
            if components.contains(&component) {
                return Err("it covers a component twice");
            }
            components.push(component);
            if components.len() > MAX_COMPONENTS {
                return Err("it covers too many components");
            }
            if !self.0.starts_with([' ', ')']) {
                return Err("it covers a component with parameters, or one that cannot be read");
            }
        }
    }
}
