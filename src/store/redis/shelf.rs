//! Where replicas leave issuers' key sets for each other. They come and go sealed:
//! what they say, and whether to believe it, is nobody's business here.
//!
//! A claim is a key that ends by itself; only its holder takes it away earlier.
//! None of this rests on a memory, and none of it waits for replicas: what is
//! lost is fetched again.

use std::time::Duration;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::Value;

use super::{
    Answer, RedisStore, micros,
    place::Kind,
    request::{LOOK_ON_SHELF, RELEASE, Request},
    strange,
};
use crate::{
    clock::Timestamp,
    mark::Mark,
    ports::{Claimed, KeySetShelf, StoreFailure},
};

#[async_trait]
impl KeySetShelf for RedisStore {
    async fn get(
        &self,
        issuer: Mark,
        most: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreFailure> {
        let place = self.exchange.places().of(&issuer);
        let keys = vec![self.exchange.places().key(place, Kind::KeySet, &issuer)];
        let arguments = vec![micros(now), most.to_string()];
        let request = Request::Run { script: &LOOK_ON_SHELF, keys, arguments, lasting: false };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        match (answer.word.as_str(), answer.rest.into_iter().next()) {
            ("empty", _) => Ok(None),
            ("left", Some(Value::BulkString(sealed))) => Ok(Some(sealed)),
            _ => Err(strange("a key set")),
        }
    }

    async fn put(
        &self,
        issuer: Mark,
        sealed: &[u8],
        keep: Duration,
        now: Timestamp,
    ) -> Result<(), StoreFailure> {
        let place = self.exchange.places().of(&issuer);
        let key = self.exchange.places().key(place, Kind::KeySet, &issuer);
        let request = Request::Set { key, value: sealed.to_vec(), keep, unless_there: false };
        match self.exchange.send(place, &request, now).await? {
            Value::Okay => Ok(()),
            _ => Err(strange("a key set")),
        }
    }

    async fn claim(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        hold: Duration,
        now: Timestamp,
    ) -> Result<Claimed, StoreFailure> {
        let place = self.exchange.places().of(&issuer);
        let key = self.exchange.places().key(place, Kind::Claim, &issuer);
        let value = URL_SAFE_NO_PAD.encode(holder).into_bytes();
        let request = Request::Set { key, value, keep: hold, unless_there: true };
        match self.exchange.send(place, &request, now).await? {
            Value::Okay => Ok(Claimed::Ours),
            Value::Nil => Ok(Claimed::Others),
            _ => Err(strange("a claim")),
        }
    }

    async fn release(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        now: Timestamp,
    ) -> Result<(), StoreFailure> {
        let place = self.exchange.places().of(&issuer);
        let keys = vec![self.exchange.places().key(place, Kind::Claim, &issuer)];
        let arguments = vec![micros(now), URL_SAFE_NO_PAD.encode(holder)];
        let request = Request::Run { script: &RELEASE, keys, arguments, lasting: false };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        if answer.word == "done" { Ok(()) } else { Err(strange("a claim")) }
    }
}
