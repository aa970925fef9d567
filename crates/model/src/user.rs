//! Who runs a container's program: `--user` resolved with the text of the container's own account files
//! (passwd(5), group(5)). The files are the image's and may hold anything.

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

/// The user or group does not exist; Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownUser {
    /// The user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// The group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// An ID out of range.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

const HIGHEST: u32 = 2_147_483_647;

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

/// Resolves `user` (`name|uid[:group|gid]`, empty for root) and more groups with the text of `/etc/passwd` and
/// `/etc/group`. Names win over numbers, as a name may consist of digits. Lines that make no sense are passed over.
pub fn resolve(passwd: &str, group: &str, user: &str, more_groups: &[String]) -> Result<User, UnknownUser> {
    let accounts: Vec<_> = passwd.lines().filter_map(account).collect();
    let groups: Vec<_> = group.lines().filter_map(group_line).collect();
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let wanted = if user.is_empty() { "0" } else { user };

    let number = wanted.parse::<u32>().ok();
    let entry = accounts
        .iter()
        .find(|entry| entry.name == wanted)
        .or_else(|| accounts.iter().find(|entry| Some(entry.uid) == number));
    let uid = match (entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(number)) => number,
        (None, None) if wanted.bytes().all(|byte| byte.is_ascii_digit()) => return Err(UnknownUser::Range),
        (None, None) => return Err(UnknownUser::User(wanted.to_owned())),
    };
    let gid = match group {
        "" => entry.map_or(0, |entry| entry.gid),
        group => find_group(&groups, group)?,
    };
    if uid > HIGHEST || gid > HIGHEST {
        return Err(UnknownUser::Range);
    }

    let mut supplementary = Vec::new();
    // Naming a group means that group alone.
    if let (Some(entry), "") = (entry, group) {
        supplementary
            .extend(groups.iter().filter(|group| group.members.contains(&entry.name)).map(|group| group.gid));
    }
    for name in more_groups {
        supplementary.push(find_group(&groups, name)?);
    }
    supplementary.insert(0, gid);
    let mut seen = std::collections::BTreeSet::new();
    supplementary.retain(|gid| seen.insert(*gid));

    let home = entry.map_or("/", |entry| entry.home);
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, groups: supplementary, home: home.to_owned() })
}

fn find_group(groups: &[Group<'_>], wanted: &str) -> Result<u32, UnknownUser> {
    match (groups.iter().find(|group| group.name == wanted), wanted.parse::<u32>()) {
        (Some(group), _) => Ok(group.gid),
        (None, Ok(number)) if number <= HIGHEST => Ok(number),
        (None, Ok(_)) => Err(UnknownUser::Range),
        (None, Err(_)) => Err(UnknownUser::Group(wanted.to_owned())),
    }
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
}

fn group_line(line: &str) -> Option<Group<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',').filter(|member| !member.is_empty()).collect();
    Some(Group { name, gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/var/www:/bin/sh\n1001:x:50:50::/x:\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\naudio:x:29:web,root\nvideo:x:44:other\n";

    fn user(text: &str) -> Result<User, UnknownUser> {
        resolve(PASSWD, GROUP, text, &[])
    }

    #[test]
    fn names_and_numbers() {
        let web = User { uid: 33, gid: 33, groups: vec![33, 29], home: "/var/www".to_owned() };
        assert_eq!(user("web"), Ok(web.clone()));
        assert_eq!(user("33"), Ok(web));
        assert_eq!(user("").unwrap().home, "/root");
        assert_eq!(user("1001").unwrap().uid, 50);
        assert_eq!(user("77"), Ok(User { uid: 77, gid: 0, groups: vec![0], home: "/".to_owned() }));
        let named = user("web:video").unwrap();
        assert_eq!((named.gid, named.groups), (44, vec![44]));
        assert_eq!(user("5:6").unwrap().groups, [6]);
    }

    #[test]
    fn strangers_are_named() {
        assert_eq!(
            user("bob").unwrap_err().to_string(),
            "unable to find user bob: no matching entries in passwd file"
        );
        assert_eq!(user("web:nope"), Err(UnknownUser::Group("nope".to_owned())));
        assert_eq!(user("99999999999"), Err(UnknownUser::Range));
        assert_eq!(user("4294967295"), Err(UnknownUser::Range));
        assert_eq!(resolve("", "", "root", &[]), Err(UnknownUser::User("root".to_owned())));
    }

    #[test]
    fn more_groups() {
        let groups = ["audio".to_owned(), "7".to_owned()];
        assert_eq!(resolve(PASSWD, GROUP, "5", &groups).unwrap().groups, [0, 29, 7]);
        assert!(resolve(PASSWD, GROUP, "5", &["what".to_owned()]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(passwd in ".*", group in ".*", user in ".*") {
            let _ = resolve(&passwd, &group, &user, std::slice::from_ref(&user));
        }
    }
}
