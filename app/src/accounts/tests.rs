use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::users::normalized;

fn accounts(options: &[&str]) -> Result<Accounts, String> {
    Accounts::new(&Options::parse_from([&["kvolt-app"], options].concat()))
}

#[tokio::test]
async fn only_the_right_password_is_accepted() {
    let users = accounts(&["--user", "ada:secret", "--admin", "bob:other"]).unwrap();
    let bob = users.check("bob", "other".into()).await.unwrap();
    assert_eq!((bob.user.id, &*bob.user.name, bob.version), (2, "bob", 1));
    assert_eq!(users.role(&bob.user), Some(Role::Admin));
    for (name, password) in [("ada", "other"), ("ada", ""), ("eve", "secret"), ("", "")] {
        assert!(users.check(name, password.into()).await.is_none(), "{name}:{password}");
    }
}

#[tokio::test]
async fn without_users_there_is_one_with_a_random_password() {
    let (one, other) = (accounts(&[]).unwrap(), accounts(&[]).unwrap());
    let password = one.generated_password().unwrap();
    assert_ne!(Some(password), other.generated_password());
    assert!(one.check(DEMO, password.into()).await.is_some());
}

#[test]
fn an_unknown_name_takes_as_much_work() {
    let users = accounts(&["--user", "ada:secret"]).unwrap();
    let work =
        |hash: &PasswordHash| (hash.algorithm.to_string(), hash.version, hash.params.to_string());
    let ada = users.with(|book| work(&book.accounts[0].hash));
    assert_eq!(work(&users.dummy), ada);
}

#[test]
fn a_user_is_given_once() {
    assert!(accounts(&["--user", "ada:a", "--user", "ada:b"]).is_err());
    assert!(accounts(&["--user", "ada:a", "--admin", "ada:b"]).is_err());
}

#[tokio::test]
async fn a_changed_password_reaches_every_instance_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.json");
    let options = ["--accounts", path.to_str().unwrap(), "--user", "ada:first secret"];
    let (one, other) = (accounts(&options).unwrap(), accounts(&options).unwrap());
    let ada = one.check("ada", "first secret".into()).await.unwrap();
    assert_eq!(other.version(&ada.user), Some(1));
    assert_eq!(one.change_password(&ada.user, "second secret"), Ok(Some(2)));
    let restarted = accounts(&options).unwrap();
    for instance in [&one, &other, &restarted] {
        assert!(instance.check("ada", "first secret".into()).await.is_none());
        assert_eq!(instance.check("ada", "second secret".into()).await.unwrap().version, 2);
        assert_eq!(instance.version(&ada.user), Some(2));
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains("secret"), "hashes only");
}

#[test]
fn changes_by_several_instances_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.json");
    let options = ["--accounts", path.to_str().unwrap(), "--user", "ada:a", "--user", "bob:b"];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let instance = accounts(&options).unwrap();
                for (id, name) in [(1, "ada"), (2, "bob")] {
                    let user = User { id, name: name.into(), role: Role::User, counter: 0 };
                    instance.change_password(&user, "another").unwrap();
                }
            });
        }
    });
    let versions = accounts(&options).unwrap();
    let versions: Vec<_> =
        versions.with(|book| book.accounts.iter().map(|ada| ada.version).collect());
    assert_eq!(versions, [5, 5], "the first version, and four changes");
}

#[test]
fn an_existing_account_keeps_its_password_and_takes_the_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.json");
    let path = path.to_str().unwrap();
    accounts(&["--accounts", path, "--user", "ada:a"]).unwrap();
    let again = accounts(&["--accounts", path, "--admin", "bob:b", "--admin", "ada:other"]);
    let again = again.unwrap();
    let ada = User { id: 1, name: "ada".into(), role: Role::User, counter: 0 };
    assert_eq!((again.version(&ada), again.role(&ada)), (Some(1), Some(Role::Admin)));
    assert_eq!((again.id("bob"), &*again.owner_name(&Owner::from(2u64))), (Some(2), "bob"));
    assert_eq!(accounts(&["--accounts", path]).unwrap().generated_password(), None);
}

#[test]
fn a_damaged_or_missing_file_changes_no_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.json");
    let options = ["--accounts", path.to_str().unwrap(), "--user", "ada:a"];
    let running = accounts(&options).unwrap();
    fs::write(&path, "{").unwrap();
    assert_eq!(running.id("ada"), Some(1), "the last contents are used");
    assert!(accounts(&options).is_err(), "a new instance refuses it");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    fs::remove_file(&path).unwrap();
    assert_eq!(running.id("ada"), Some(1));
}

#[tokio::test]
async fn names_and_passwords_are_normalized() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    for (given, sent) in [(composed, decomposed), (decomposed, composed)] {
        let users = accounts(&["--user", &format!("{given}:{given}")]).unwrap();
        let [name, password] = [sent, sent].map(normalized);
        assert!(users.check(&name, password).await.is_some());
    }
    let both = [format!("{composed}:a"), format!("{decomposed}:b")];
    assert!(accounts(&["--user", &both[0], "--user", &both[1]]).is_err(), "one name");
}
