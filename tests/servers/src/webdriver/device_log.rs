use serde_json::Value;

/// The reports of Chromium about device-bound sessions, oldest first.
#[derive(Debug, Default)]
pub struct DeviceLog {
    events: Vec<Value>,
    /// Requests that a bound session could apply to, and the URLs of all, by their id.
    uses: Vec<(String, String)>,
    urls: Vec<(String, String)>,
}

impl DeviceLog {
    /// Adds an entry of the performance log, if it is about these sessions.
    pub(super) fn add(&mut self, entry: &Value) {
        let message = entry["message"].as_str().unwrap_or_default();
        let mut message: Value = serde_json::from_str(message).unwrap_or_default();
        let mut message = message["message"].take();
        let params = message["params"].take();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let request = text(&params["requestId"]);
        match message["method"].as_str() {
            Some("Network.deviceBoundSessionEventOccurred") => self.events.push(params),
            Some("Network.requestWillBeSent") => {
                self.urls.push((request, text(&params["request"]["url"])));
            }
            Some("Network.requestWillBeSentExtraInfo") => {
                for use_of in params["deviceBoundSessionUsages"].as_array().into_iter().flatten() {
                    self.uses.push((request.clone(), text(&use_of["usage"])));
                }
            }
            _ => (),
        }
    }

    fn details<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        let events = self.events.iter().map(move |event| (event, &event[kind]));
        events.filter(|(_, details)| !details.is_null())
    }

    /// The results of all registrations: `Success`, or an error's name.
    pub fn registrations(&self) -> Vec<String> {
        let all = self.details("creationEventDetails");
        all.map(|(_, details)| details["fetchResult"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// The ids of the sessions that were registered and have not ended.
    pub fn live(&self) -> Vec<String> {
        let mut live = Vec::new();
        for event in &self.events {
            let id = event["sessionId"].as_str().unwrap_or_default();
            if !event["terminationEventDetails"].is_null() {
                live.retain(|other| other != id);
            } else if !event["creationEventDetails"].is_null() && event["succeeded"] == true {
                live.push(id.to_owned());
            }
        }
        live
    }

    /// The results of all refreshes, such as `Refreshed`.
    pub fn refreshes(&self) -> Vec<String> {
        let all = self.details("refreshEventDetails");
        all.map(|(_, details)| details["refreshResult"].as_str().unwrap_or("?").to_owned())
            .collect()
    }

    /// How many challenges the browser accepted.
    pub fn challenges(&self) -> usize {
        let all = self.details("challengeEventDetails");
        all.filter(|(event, _)| event["succeeded"] == true).count()
    }

    /// The usage of bound sessions by the requests whose URL ends so: `Deferred` for a request that
    /// waited for a refresh.
    pub fn uses(&self, url_end: &str) -> Vec<String> {
        let matches = |request: &str| {
            self.urls.iter().any(|(id, url)| id == request && url.ends_with(url_end))
        };
        let uses = self.uses.iter().filter(|(request, _)| matches(request));
        uses.map(|(_, kind)| kind.clone()).collect()
    }
}
