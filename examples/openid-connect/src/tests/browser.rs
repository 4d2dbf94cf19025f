use axum::http::{StatusCode, header};
use openidconnect::url::Url;

use super::stage::{Server, http};

const SESSION: &str = "__Host-session_id";

/// A browser that follows redirects and keeps cookies.
#[derive(Clone)]
pub(super) struct Browser {
    http: reqwest::Client,
    cookies: Vec<Cookie>,
    /// Its answer to the provider's question for a user: `as=ada`.
    answer: String,
}

#[derive(Clone)]
struct Cookie {
    name: String,
    value: String,
    path: String,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) next: Option<Url>,
    pub(super) text: String,
}

impl Browser {
    /// The browser of a user, by the user's name at the provider.
    pub(super) fn of(user: &str) -> Self {
        Self::answering(&format!("as={user}"))
    }

    pub(super) fn answering(answer: &str) -> Self {
        let http = http().redirect(reqwest::redirect::Policy::none());
        let http = http.build().unwrap();
        Self { http, cookies: Vec::new(), answer: answer.to_owned() }
    }

    /// Sends one request, and keeps the cookies of its answer.
    pub(super) async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let mut request = request.build().unwrap();
        let path = request.url().path().to_owned();
        let is_for = |cookie: &&Cookie| path.starts_with(&cookie.path);
        let pair = |cookie: &Cookie| format!("{}={}", cookie.name, cookie.value);
        let cookies: Vec<_> = self.cookies.iter().filter(is_for).map(pair).collect();
        request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        let url = request.url().clone();
        let response = self.http.execute(request).await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        let location = response.headers().get(header::LOCATION);
        let next = location.map(|location| url.join(location.to_str().unwrap()).unwrap());
        let status = response.status();
        Page { status, next, text: response.text().await.unwrap() }
    }

    fn keep(&mut self, cookie: &str) {
        let mut parts = cookie.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> =
            parts.map(|each| each.split_once('=').unwrap_or((each, ""))).collect();
        let attribute = |wanted: &str| {
            let mut all = attributes.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let path = attribute("path").unwrap_or("/");
        self.cookies.retain(|each| (each.name.as_str(), each.path.as_str()) != (name, path));
        let is_removal = attribute("max-age") == Some("0")
            || attribute("expires").is_some_and(|date| date.contains("1970"));
        if !value.is_empty() && !is_removal {
            let (name, value, path) = (name.to_owned(), value.to_owned(), path.to_owned());
            self.cookies.push(Cookie { name, value, path });
        }
    }

    pub(super) async fn get(&mut self, url: Url) -> Page {
        let request = self.http.get(url);
        self.send(request).await
    }

    pub(super) async fn post(&mut self, url: Url, form: &[(&str, &str)]) -> Page {
        let request = self.http.post(url).form(form);
        self.send(request).await
    }

    /// Follows redirects from here until the next one leads to `until`, which is not requested.
    pub(super) async fn walk(&mut self, mut url: Url, until: &str) -> Url {
        for _ in 0..10 {
            if url.path() == until {
                return url;
            }
            if url.path().starts_with("/interaction/") {
                url.set_query(Some(&self.answer));
            }
            let page = self.get(url.clone()).await;
            url = page.next.unwrap_or_else(|| panic!("{url}: {} {}", page.status, page.text));
        }
        panic!("{url} does not lead to {until}");
    }

    /// Starts a sign-in, and returns the provider's answer to it: the address of the callback.
    pub(super) async fn begin(&mut self, server: &Server, next: &str) -> Url {
        self.walk(server.at(&format!("/sign-in?next={next}")), "/callback").await
    }

    pub(super) async fn sign_in(&mut self, server: &Server) {
        let callback = self.begin(server, "/").await;
        let page = self.get(callback).await;
        assert_eq!(page.next, Some(server.at("/")), "{} {}", page.status, page.text);
        assert!(self.is_signed_in(server).await);
    }

    pub(super) async fn is_signed_in(&mut self, server: &Server) -> bool {
        let page = self.get(server.at("/")).await;
        assert_eq!(page.status, StatusCode::OK);
        page.text.contains("Sign out")
    }

    /// The same browser, with another answer.
    pub(super) fn answering_now(self, answer: &str) -> Self {
        Self { answer: answer.to_owned(), ..self }
    }

    /// Confirms on the provider's page that the user signs out, and returns where that leads.
    pub(super) async fn sign_out_at_provider(&mut self, page: Url) -> Option<Url> {
        let form = self.get(page.clone()).await.text;
        let value = |before: &str| form.split(before).nth(1)?.split('"').next();
        let action = value("action=\"").unwrap_or_else(|| panic!("no form: {form}"));
        let xsrf = value("name=\"xsrf\" value=\"").unwrap();
        let action = page.join(action).unwrap();
        self.post(action, &[("xsrf", xsrf), ("logout", "yes")]).await.next
    }

    pub(super) fn forget_session(&mut self) {
        self.cookies.retain(|cookie| cookie.name != SESSION);
    }

    /// Keeps only the session here. The next sign-in begins another session at the provider.
    pub(super) fn forget_provider(&mut self) {
        self.cookies.retain(|cookie| cookie.name == SESSION);
    }

    /// The session's token.
    pub(super) fn token(&self) -> Option<&str> {
        let is_it = |cookie: &&Cookie| cookie.name == SESSION;
        self.cookies.iter().find(is_it).map(|cookie| cookie.value.as_str())
    }
}
