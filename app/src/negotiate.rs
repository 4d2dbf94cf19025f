//! Answers for people, who get pages, and for programs, which get JSON.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use crate::pages::{Notice, page};

/// Whether a page is wanted: what browsers ask for when somebody follows a link or sends a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Page,
    Json,
}

impl Wants {
    /// The page to go on with, or the JSON.
    pub(crate) fn answer(self, page: &str, json: impl Serialize) -> Response {
        match self {
            Self::Page => Redirect::to(page).into_response(),
            Self::Json => Json(json).into_response(),
        }
    }

    /// A refusal, as a page or as JSON.
    pub(crate) fn refuse(self, status: StatusCode, title: &str, text: &str) -> Response {
        match self {
            Self::Page => page(status, &Notice { title, text }),
            Self::Json => refuse(status, text),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let accepts = parts.headers.get(ACCEPT).map(|accept| accept.as_bytes());
        let page = accepts.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
        Ok(if page { Self::Page } else { Self::Json })
    }
}

/// A refusal as JSON.
pub(crate) fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(serde_json::json!({ "error": error }))).into_response()
}
