//! `[review]`: what the built-in article worker needs.

use std::path::PathBuf;

use super::queues::ARTICLE_REVIEW;
use super::secrets::{self, SECRET_ID, SECRET_KEY};
use super::section::Section;
use super::text::{Route, check_template, check_url};
use crate::secret::Secret;

/// What the article worker needs.
#[derive(Clone, Debug)]
pub struct Review {
    /// Files of own sensitive words; each existed when the configuration was read.
    pub words: Vec<PathBuf>,
    /// Who judges texts and images.
    pub moderation: Moderation,
    /// Where an article is read and its state back-filled; holds the placeholder `{id}`.
    pub articles: String,
    /// Where an article is published.
    pub publish: String,
}

/// Who judges texts and images.
#[derive(Clone, Debug)]
pub enum Moderation {
    /// Nobody: own words decide alone.
    None,
    /// Tencent Cloud.
    Tencent(Tencent),
}

/// An account at Tencent Cloud.
#[derive(Clone, Debug)]
pub struct Tencent {
    /// One address for texts and images instead of the region's own, such as a sandbox.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Who we are.
    pub secret_id: Secret,
    /// What requests are signed with.
    pub secret_key: Secret,
    /// The policy's name in the provider's console; its default policy when absent.
    pub biz_type: Option<String>,
}

/// The providers by name.
#[derive(Clone, Copy)]
enum Provider {
    None,
    Tencent,
}

/// Reads `[review]`; `types` are the task types that the article worker works.
pub(super) fn read(top: &Section<'_>, types: &[String]) -> Option<Review> {
    let review = top.section("review", read_review);
    if let (None, Some(first)) = (&review, types.first())
        && !top.has("review")
    {
        let key = format!("queues.{first}.deliver.worker");
        top.problem(&key, format!("\"{ARTICLE_REVIEW}\" needs a [review] table; add one"));
    }
    review
}

fn read_review(section: &Section<'_>) -> Review {
    let words = section.texts("words").into_iter().map(|path| section.reading.base.join(path));
    let words: Vec<PathBuf> = words.collect();
    for path in words.iter().filter(|path| !path.is_file()) {
        section.problem("words", format!("there is no file {}", path.display()));
    }
    let moderation = section.section("moderation", read_moderation).unwrap_or_else(|| {
        if !section.has("moderation") {
            section.problem(
                "moderation",
                "is missing; add moderation = { provider = \"none\" } to let own words decide",
            );
        }
        Moderation::None
    });
    let articles = section.required_text("articles", "\"http://…/{id}\"");
    let publish = section.required_text("publish", "\"http://…/save\"");
    if !articles.is_empty() {
        match check_template(articles, &["id"]) {
            Ok(_) if !articles.contains("{id}") => {
                section.problem("articles", "must hold {id}, the article's place in the address");
            }
            Ok(_) => {}
            Err(why) => section.problem("articles", why),
        }
    }
    if !publish.is_empty()
        && let Err(why) = check_url(publish)
    {
        section.problem("publish", why);
    }
    Review { words, moderation, articles: articles.to_owned(), publish: publish.to_owned() }
}

fn read_moderation(section: &Section<'_>) -> Moderation {
    if !section.has("provider") {
        section.problem("provider", "is missing; add provider = \"tencent\" or \"none\"");
    }
    let providers = [("none", Provider::None), ("tencent", Provider::Tencent)];
    match section.choice("provider", &providers) {
        Provider::None => Moderation::None,
        Provider::Tencent => Moderation::Tencent(read_tencent(section)),
    }
}

fn read_tencent(section: &Section<'_>) -> Tencent {
    let endpoint = section.text("endpoint").map(|url| url.trim_end_matches('/').to_owned());
    match endpoint.as_deref().map(check_url) {
        None | Some(Ok(Route::Private)) => {}
        Some(Ok(Route::Open)) => section.warn("endpoint", "sends articles unencrypted"),
        Some(Err(why)) => section.problem("endpoint", why),
    }
    Tencent {
        endpoint,
        region: section.text("region").unwrap_or("ap-guangzhou").to_owned(),
        secret_id: secrets::required(section, &SECRET_ID),
        secret_key: secrets::required(section, &SECRET_KEY),
        biz_type: section.text("biz_type").map(str::to_owned),
    }
}
