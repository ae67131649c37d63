//! What rules send to servers, and what they make of the answers.

mod callbacks;
mod http;
mod oauth2;
mod uma;
mod user_info;
mod world;
