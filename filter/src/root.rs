//! The root context: configuration, time, and the calls that requests share.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::host::{self, HostError, Level};
use crate::http::Http;
use crate::plugin::Plugin;

/// One configured plugin in one VM.
pub struct Root {
    plugin: Rc<Plugin>,
}

impl Root {
    /// Not configured yet.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self { plugin: Rc::new(Plugin::new(id)) }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, _body_size: usize, _trailers: usize) {
        self.plugin.fetch_answered(token, headers);
    }

    fn on_done(&mut self) -> bool {
        true
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _vm_configuration_size: usize) -> bool {
        true
    }

    fn on_configure(&mut self, _plugin_configuration_size: usize) -> bool {
        let configured = match host::plugin_configuration() {
            Ok(configuration) => self.plugin.configure(&configuration),
            Err(HostError::NotFound) => self.plugin.configure(b""),
            Err(error) => {
                host::log(Level::Error, &format!("the configuration cannot be read: {}", error.name()));
                return false;
            }
        };
        for problem in configured.as_ref().err().into_iter().flatten() {
            host::log(Level::Error, &problem.to_string());
        }
        configured.is_ok()
    }

    fn on_tick(&mut self) {
        self.plugin.tick_keys();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http::new(id, Rc::clone(&self.plugin))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
