//! The requests to the provider, and the verification of what it signs.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kvolt::cache::Timestamp;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreIdToken, CoreIdTokenVerifier,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreTokenResponse,
    CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IssuerUrl, JsonWebKey, JsonWebKeySetUrl, LogoutRequest, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl,
    ProviderMetadataWithLogout, RedirectUrl, RefreshToken, RequestTokenError, SubjectIdentifier,
    TokenResponse, url,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::tokens::Tokens;
use crate::{LATER, Page, STALE};

/// The one algorithm that is accepted, as registered at the provider (`id_token_signed_response_alg`).
/// The header of a token is its sender's, so it decides nothing.
const ALGORITHM: CoreJwsSigningAlgorithm = CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256;
/// How often an unknown key may cause a request for the provider's keys. Anyone can name one.
const KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// The longest that the provider may take to answer.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

pub(crate) struct Settings {
    /// Where browsers reach this application, such as `https://shop.example`.
    pub(crate) origin: String,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

pub(crate) struct Provider {
    http: reqwest::Client,
    metadata: ProviderMetadataWithLogout,
    client: Client,
    secret: ClientSecret,
    after_sign_out: PostLogoutRedirectUrl,
    keys: Mutex<Keys>,
}

struct Keys {
    set: CoreJsonWebKeySet,
    /// When an unknown key last caused a request.
    fetched: Option<Timestamp>,
}

/// A sign-in under way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SignIn {
    state: CsrfToken,
    nonce: Nonce,
    pkce_verifier: String,
    return_to: String,
    began: u64,
}

impl SignIn {
    pub(crate) fn state(&self) -> &str {
        self.state.secret()
    }

    pub(crate) fn return_to(&self) -> &str {
        &self.return_to
    }

    pub(crate) fn began(&self) -> Timestamp {
        Timestamp::from_millis(self.began)
    }
}

/// A user, authenticated by the provider.
pub(crate) struct Identity {
    pub(crate) subject: String,
    /// The session at the provider, if it names one.
    pub(crate) sid: Option<String>,
    /// When the sign-in began.
    pub(crate) began: Timestamp,
    pub(crate) id_token: String,
    pub(crate) tokens: Tokens,
}

/// The provider's answer to a refresh token.
pub(crate) enum Refreshed {
    Tokens(Tokens),
    /// The provider has ended the grant.
    Ended,
    Unavailable,
}

impl Provider {
    pub(crate) async fn discover(settings: Settings) -> Result<Self, Box<dyn Error>> {
        let http = reqwest::Client::builder()
            // A redirect could lead into the network of this server.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME_LIMIT)
            .build()?;
        let issuer = IssuerUrl::new(settings.issuer)?;
        let metadata = ProviderMetadataWithLogout::discover_async(issuer, &http).await?;
        let secret = ClientSecret::new(settings.client_secret);
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(settings.client_id),
            Some(secret.clone()),
        )
        .set_redirect_uri(RedirectUrl::new(format!("{}/callback", settings.origin))?);
        let after_sign_out = PostLogoutRedirectUrl::new(format!("{}/", settings.origin))?;
        let keys = Mutex::new(Keys { set: metadata.jwks().clone(), fetched: None });
        Ok(Self { http, metadata, client, secret, after_sign_out, keys })
    }

    pub(crate) fn issuer(&self) -> &str {
        self.metadata.issuer().as_str()
    }

    pub(crate) fn client_id(&self) -> &str {
        self.client.client_id().as_str()
    }

    /// Starts a sign-in, and returns the address of its page at the provider.
    pub(crate) fn begin(&self, return_to: &str, now: Timestamp) -> (SignIn, url::Url) {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = self.client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        let sign_in = SignIn {
            state,
            nonce,
            pkce_verifier: verifier.into_secret(),
            return_to: return_to.to_owned(),
            began: now.as_millis(),
        };
        (sign_in, url)
    }

    /// Exchanges the code of an answer, and verifies the ID token: signature, issuer, audience,
    /// expiry and nonce.
    pub(crate) async fn finish(
        &self,
        sign_in: SignIn,
        code: String,
        now: Timestamp,
    ) -> Result<Identity, Page> {
        let began = sign_in.began();
        let request = self.client.exchange_code(AuthorizationCode::new(code)).map_err(later)?;
        let verifier = PkceCodeVerifier::new(sign_in.pkce_verifier);
        let answer = request.set_pkce_verifier(verifier).request_async(&self.http).await;
        let answer = answer.map_err(|error| match error {
            // The code was used, or is too old.
            RequestTokenError::ServerResponse(answer)
                if *answer.error() == CoreErrorResponseType::InvalidGrant =>
            {
                STALE
            }
            error => later(error),
        })?;
        let id_token = answer.id_token().ok_or(STALE)?;
        let text = id_token.to_string();
        let header: Header = part(&text, 0).ok_or(STALE)?;
        let keys = self.keys(header.kid.as_deref(), now).await?;
        let verifier = CoreIdTokenVerifier::new_confidential_client(
            self.client.client_id().clone(),
            self.secret.clone(),
            self.metadata.issuer().clone(),
            CoreJsonWebKeySet::new(keys),
        )
        .set_allowed_algs([ALGORITHM]);
        let claims = id_token.claims(&verifier, &sign_in.nonce).map_err(|error| {
            eprintln!("the provider's ID token is not valid: {error}");
            STALE
        })?;
        #[derive(Deserialize)]
        struct Sid {
            sid: Option<String>,
        }
        let Sid { sid } = part(&text, 1).ok_or(STALE)?;
        Ok(Identity {
            subject: claims.subject().to_string(),
            sid,
            began,
            id_token: text.clone(),
            tokens: tokens(&answer, now),
        })
    }

    pub(crate) async fn refresh(&self, refresh_token: &str, now: Timestamp) -> Refreshed {
        let refresh_token = RefreshToken::new(refresh_token.to_owned());
        let Ok(request) = self.client.exchange_refresh_token(&refresh_token) else {
            return Refreshed::Unavailable; // the provider has no such endpoint
        };
        match request.request_async(&self.http).await {
            Ok(answer) => Refreshed::Tokens(tokens(&answer, now)),
            Err(RequestTokenError::ServerResponse(answer))
                if *answer.error() == CoreErrorResponseType::InvalidGrant =>
            {
                Refreshed::Ended
            }
            Err(error) => {
                later(error);
                Refreshed::Unavailable
            }
        }
    }

    /// Returns the id of the user that the provider's user info endpoint knows by an access token.
    /// Another one than `subject` is an error.
    pub(crate) async fn user_info(
        &self,
        access_token: String,
        subject: String,
    ) -> Result<String, Page> {
        let (token, subject) = (AccessToken::new(access_token), SubjectIdentifier::new(subject));
        let request = self.client.user_info(token, Some(subject)).map_err(later)?;
        let user: CoreUserInfoClaims = request.request_async(&self.http).await.map_err(later)?;
        Ok(user.subject().to_string())
    }

    /// Returns the page of the provider at which the user signs out there too, if it has one.
    pub(crate) fn sign_out_url(&self, id_token: &str) -> Option<url::Url> {
        let page = self.metadata.additional_metadata().end_session_endpoint.clone()?;
        let hint: CoreIdToken = id_token.parse().ok()?;
        let request = LogoutRequest::from(page)
            .set_id_token_hint(&hint)
            .set_client_id(self.client.client_id().clone())
            .set_post_logout_redirect_uri(self.after_sign_out.clone());
        Some(request.http_get_url())
    }

    /// Verifies the signature of a token, and returns its header.
    ///
    /// # Errors
    ///
    /// `Ok(None)` if it is not the provider's. Returns an error if its key is unknown, and the
    /// provider's keys can't be fetched now.
    pub(crate) async fn verify(&self, token: &str, now: Timestamp) -> Result<Option<Header>, Page> {
        let Some((signed, signature)) = token.rsplit_once('.') else { return Ok(None) };
        let (Some(header), Some(signature)) = (part::<Header>(token, 0), decode(signature)) else {
            return Ok(None);
        };
        if header.alg != ALGORITHM || header.crit.is_some() || signed.matches('.').count() != 1 {
            return Ok(None);
        }
        let keys = self.keys(header.kid.as_deref(), now).await?;
        let is_signed = |key: &CoreJsonWebKey| {
            key.verify_signature(&ALGORITHM, signed.as_bytes(), &signature).is_ok()
        };
        Ok(keys.iter().any(is_signed).then_some(header))
    }

    /// Returns the provider's keys with this id, or all if there is no id. An unknown id makes this
    /// server fetch them again, at most once a minute.
    async fn keys(&self, kid: Option<&str>, now: Timestamp) -> Result<Vec<CoreJsonWebKey>, Page> {
        let named = |set: &CoreJsonWebKeySet| -> Vec<CoreJsonWebKey> {
            let is_it =
                |key: &&CoreJsonWebKey| kid.is_none() || key.key_id().map(|id| id.as_str()) == kid;
            set.keys().iter().filter(is_it).cloned().collect()
        };
        let mut keys = self.keys.lock().await;
        let known = named(&keys.set);
        if !known.is_empty() {
            return Ok(known);
        }
        if keys.fetched.is_some_and(|fetched| now.since(fetched) < KEYS_INTERVAL) {
            return Err(LATER);
        }
        keys.fetched = Some(now);
        let url: &JsonWebKeySetUrl = self.metadata.jwks_uri();
        keys.set = CoreJsonWebKeySet::fetch_async(url, &self.http).await.map_err(later)?;
        Ok(named(&keys.set))
    }
}

/// The header of a token of the form of RFC 7515.
#[derive(Deserialize)]
pub(crate) struct Header {
    alg: CoreJwsSigningAlgorithm,
    kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// Extensions that a reader must know; this one knows none.
    crit: Option<serde_json::Value>,
}

/// Reads one part of such a token, without verifying it.
pub(crate) fn part<T: for<'de> Deserialize<'de>>(token: &str, at: usize) -> Option<T> {
    serde_json::from_slice(&decode(token.split('.').nth(at)?)?).ok()
}

fn tokens(answer: &CoreTokenResponse, now: Timestamp) -> Tokens {
    let refresh = answer.refresh_token().map(|token| token.secret().clone());
    let lifetime = answer.expires_in().unwrap_or(Duration::from_secs(5 * 60));
    Tokens::new(answer.access_token().secret().clone(), refresh, now.saturating_add(lifetime))
}

fn later(error: impl Error) -> Page {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    eprintln!("the provider can't be used: {error} {source}");
    LATER
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}
