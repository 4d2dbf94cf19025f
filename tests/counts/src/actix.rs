//! The same requests through the middleware, in an application on actix-web.

use actix_web::dev::{HttpServiceFactory, Service as _};
use actix_web::rt::SystemRunner;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use kvolt_actix::{Session, SessionMiddleware};

use crate::Counter;
use crate::http::{BARE, clients};
use crate::user::{NAME, User};

pub(crate) fn requests(counter: &mut dyn Counter, samples: usize) {
    async fn name(session: Option<Session<User>>) -> String {
        session.map_or_else(|| String::from(NAME), |session| session.name.clone())
    }

    let system = actix_web::rt::System::new();
    let profile = || web::resource("/profile");
    let bare = profile().to(async || String::from(NAME));
    get_profile(counter, samples, &system, BARE, bare, "theme=dark");
    for client in system.block_on(clients()) {
        let resource = profile().wrap(SessionMiddleware::new(client.layer)).to(name);
        get_profile(counter, samples, &system, client.name, resource, &client.cookies);
    }
}

fn get_profile(
    counter: &mut dyn Counter,
    samples: usize,
    system: &SystemRunner,
    client: &str,
    resource: impl HttpServiceFactory + 'static,
    cookies: &str,
) {
    let app = system.block_on(init_service(App::new().service(resource)));
    for _ in 0..samples {
        let request = TestRequest::get().uri("/profile").insert_header(("cookie", cookies));
        let mut request = Some(request.to_request());
        counter.count(&format!("actix: {client}"), &mut || {
            let answer = system.block_on(app.call(request.take().unwrap()));
            assert_eq!(answer.unwrap().status(), 200);
        });
    }
}
