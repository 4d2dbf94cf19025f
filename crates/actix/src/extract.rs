//! The arguments of handlers: [`Session`] and [`SessionHandle`].

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::body::BoxBody;
use actix_web::dev::{Extensions, Payload};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use kvolt_middleware::adapter::RequestSession;

use crate::head::{self, Head};
use crate::{Error, Result};

/// The session of the request, as an argument of a handler. It dereferences to a
/// [`kvolt_middleware::Session`], which has the calls that change it, and that one to the
/// application's data.
///
/// A request without a session gets the middleware's refusal, and the handler does not run. As an
/// `Option` it admits both.
///
/// # A session that can't be read
///
/// A request whose session can't be read is answered 500 by the middleware, and the handler does
/// not run, whether it asks for a `Session`, for an `Option` or for a `Result` of one. A handler
/// that takes a [`SessionHandle`] alone does run, since such a client must be able to sign in and
/// out.
///
/// ```
/// use kvolt_actix::{Result, Session};
///
/// #[derive(Clone)]
/// struct User { name: String, visits: u64 }
///
/// async fn visit(mut user: Session<User>) -> Result<String> {
///     user.update(|user| user.visits += 1).await?;
///     Ok(format!("{} was here {} times", user.name, user.visits))
/// }
///
/// async fn home(user: Option<Session<User>>) -> String {
///     user.map_or_else(|| String::from("hello"), |user| format!("hello {}", user.name))
/// }
/// ```
pub struct Session<T>(pub kvolt_middleware::Session<T>);

/// Signs a client in and out, whether or not it has a session. As an argument of a handler it needs
/// a [middleware](crate::SessionMiddleware) around the route. It dereferences to a
/// [`kvolt_middleware::SessionHandle`], which has the calls.
///
/// ```
/// use kvolt_actix::{Result, SessionHandle};
/// use kvolt_session::NewSession;
///
/// /// After the credentials were checked.
/// async fn login(client: SessionHandle<String>) -> Result<&'static str> {
///     client.login(NewSession::new(String::from("Ada")).owner("42")).await?;
///     Ok("welcome")
/// }
/// ```
pub struct SessionHandle<T>(pub kvolt_middleware::SessionHandle<T>);

impl<T: Send + Sync + 'static> SessionHandle<T> {
    /// Returns the handle that the middleware has left in a request, or `None` without a
    /// middleware. For a guard or another middleware.
    ///
    /// ```
    /// use actix_web::HttpMessage;
    /// use actix_web::dev::ServiceRequest;
    /// use kvolt_actix::SessionHandle;
    ///
    /// fn name(request: &ServiceRequest) -> Option<String> {
    ///     let client = SessionHandle::<String>::from_extensions(&request.extensions())?;
    ///     client.session().map(|session| session.data().clone())
    /// }
    /// ```
    pub fn from_extensions(extensions: &Extensions) -> Option<Self> {
        extensions.get::<RequestSession<T>>().map(|session| Self(session.handle()))
    }

    /// Returns the middleware's answer to a request that needs a session and has none.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse};
    /// use kvolt_actix::{Result, SessionHandle};
    ///
    /// async fn page(client: SessionHandle<String>, request: HttpRequest) -> Result<HttpResponse> {
    ///     Ok(match client.0.clone().try_into_session()? {
    ///         Some(name) => HttpResponse::Ok().body(name.data().clone()),
    ///         None => client.refuse(&request),
    ///     })
    /// }
    /// ```
    pub fn refuse(&self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        head::response(&self.0.refuse(&Head(request)))
    }
}

impl<T: Send + Sync + 'static> FromRequest for SessionHandle<T> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let handle = Self::from_extensions(&request.extensions());
        ready(handle.ok_or_else(|| Error::middleware_missing::<T>(request)))
    }
}

impl<T: Send + Sync + 'static> FromRequest for Session<T> {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Extracted::new(session(request))
    }
}

/// The session of a request, or `None` if handlers don't get it, of which the middleware then knows.
pub(crate) fn session<T: Send + Sync + 'static>(
    request: &HttpRequest,
) -> Result<Option<Session<T>>> {
    let handle = || {
        let handle = SessionHandle::<T>::from_extensions(&request.extensions());
        handle.ok_or_else(|| Error::middleware_missing::<T>(request))
    };
    match handle()?.0.try_into_session() {
        Ok(Some(session)) => Ok(Some(Session(session))),
        Ok(None) => Err(Error::no_session(handle()?.0.refuse(&Head(request)))),
        // A browser that loads a page has no session, so that its user can sign in again: also where
        // the sessions have no settings for devices.
        Err(error) if error.is_unproven() && is_navigation(request) => {
            Err(Error::no_session(handle()?.0.refuse(&Head(request))))
        }
        Err(error) => {
            let handler = request.extensions().get::<Unreadable<T>>().cloned();
            let Some(handler) = handler else { return Err(error.into()) };
            handler.stop(request, error)?;
            Ok(None)
        }
    }
}

fn is_navigation(request: &HttpRequest) -> bool {
    request.headers().get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

/// The future of an extractor. `None`: the middleware answers in place of the handler.
#[derive(Debug)]
pub struct Extracted<S>(Option<Result<S>>);

impl<S> Extracted<S> {
    pub(crate) fn new(extracted: Result<Option<S>>) -> Self {
        Self(extracted.transpose())
    }
}

impl<S> Unpin for Extracted<S> {}

impl<S> Future for Extracted<S> {
    type Output = Result<S>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<S>> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// How an extractor stops the handler of a request whose session handlers don't get.
///
/// actix-web makes `None` of any error of the extractor within an `Option`. A session that can't be
/// read, or whose device is not proved, would then count as no session. So the extractor's future never completes, and the
/// middleware, which is woken, drops the handler and answers. If the handler did not wait for the
/// extractor, the middleware answers in place of its response.
pub(crate) struct Unreadable<T>(Rc<RefCell<Handler>>, PhantomData<fn() -> T>);

/// The state of such a request.
enum Handler {
    /// The handler runs. With the waker of the middleware that polled last.
    Runs(Waker),
    /// An extractor has stopped it.
    Stopped(HttpRequest, kvolt_middleware::Error),
    /// The outermost middleware has answered: it stops nothing any longer.
    Answered,
}

impl<T> Unreadable<T> {
    fn new() -> Self {
        let handler = Handler::Runs(Waker::noop().clone());
        Self(Rc::new(RefCell::new(handler)), PhantomData)
    }

    fn is_answered(&self) -> bool {
        matches!(*self.0.borrow(), Handler::Answered)
    }

    /// # Errors
    ///
    /// Returns the error if the middleware has answered.
    fn stop(
        &self,
        request: &HttpRequest,
        error: kvolt_middleware::Error,
    ) -> kvolt_middleware::Result<()> {
        let mut handler = self.0.borrow_mut();
        match &*handler {
            Handler::Runs(middleware) => middleware.wake_by_ref(),
            Handler::Stopped(..) => return Ok(()),
            Handler::Answered => return Err(error),
        }
        *handler = Handler::Stopped(request.clone(), error);
        Ok(())
    }
}

impl<T> Clone for Unreadable<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0), PhantomData)
    }
}

/// The side of a middleware. Dropping the outermost one releases the request, which holds the other
/// side.
pub(crate) struct Stops<T> {
    handler: Unreadable<T>,
    is_outermost: bool,
}

impl<T: 'static> Stops<T> {
    /// The side of this request's middleware: all of one type have the same other side, so that an
    /// extractor between two of them stops the outer one.
    pub(crate) fn of(extensions: &mut Extensions) -> Self {
        let outer = extensions.get::<Unreadable<T>>().filter(|outer| !outer.is_answered()).cloned();
        let is_outermost = outer.is_none();
        let handler = outer.unwrap_or_else(Unreadable::new);
        if is_outermost {
            extensions.insert(handler.clone());
        }
        Self { handler, is_outermost }
    }

    /// The request and the error once an extractor has stopped the handler.
    pub(crate) fn take(
        &self,
        context: &Context<'_>,
    ) -> Option<(HttpRequest, kvolt_middleware::Error)> {
        if self.handler.is_answered() {
            return None;
        }
        match self.handler.0.replace(Handler::Runs(context.waker().clone())) {
            Handler::Stopped(request, error) => Some((request, error)),
            _ => None,
        }
    }
}

impl<T> Drop for Stops<T> {
    fn drop(&mut self) {
        if self.is_outermost {
            self.handler.0.replace(Handler::Answered);
        }
    }
}

impl<T> Deref for Session<T> {
    type Target = kvolt_middleware::Session<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Session<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for SessionHandle<T> {
    type Target = kvolt_middleware::SessionHandle<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> Clone for SessionHandle<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> fmt::Debug for SessionHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
