//! Names of containers: which are allowed, and one for a container that was given none.

/// Whether Docker would accept it: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && name.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Docker's words for a name that is not.
#[must_use]
pub fn refusal(name: &str) -> String {
    format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
}

/// A readable random name, `calm_brunel`. Later attempts add a digit, as Docker's do.
#[must_use]
pub fn random(attempt: u32) -> String {
    let name = format!("{}_{}", pick(ADJECTIVES), pick(BUILDERS));
    if attempt == 0 { name } else { format!("{name}{}", attempt % 10) }
}

/// One of the words.
fn pick(words: &'static str) -> &'static str {
    let words: Vec<_> = words.split_whitespace().collect();
    let random = u32::from_str_radix(&cofferdam_model::random_hex(4), 16).expect("four bytes of hexadecimal");
    words[usize::try_from(random).unwrap_or(0) % words.len()]
}

const ADJECTIVES: &str = "
    able airy amber ample apt balmy bold brave breezy bright brisk calm candid cheery civil clear clever
    cosy crisp curious dapper daring deft dry eager earnest easy fair famous fine firm fleet fond frank
    fresh gentle glad golden graceful grand handy happy hardy hearty honest humble jolly keen kind lively
    loyal lucid lucky mellow merry mild modest neat nimble noble patient placid plain polite proud prudent
    quick quiet ready robust serene sharp silent smooth snug sober solid spry stable steady still stout
    sturdy sunny sure swift tender thrifty tidy tranquil true upright vivid warm watchful wise witty zesty
";

/// People who built bridges, dams, ships, canals, towers, engines and machines that compute.
const BUILDERS: &str = "
    ammann appleton archimedes arup babbage baird baker barlow bazalgette bessemer boole brindley brunel
    brunelleschi candela cayley clark clarke cockerell coode cubitt daimler darby diesel dischinger dudley
    eads edwards eiffel ellet ericsson fairbairn finley fowler freyssinet froude fulton gaudi girard
    goethals haupt hawkshaw hero hodgkinson hooke hopper howe jansky jessop kapitza khan khorana lamarr
    laval leupold lindenthal locke lovelace macadam maillart menn metcalf modjeski morandi moisseiff murdoch
    napier navier nervi newcomen otis otto palladio parsons paxton pelton perronet polhem poncelet rankine
    rennie riquet ritter roebling seguin shukhov siemens smeaton sostratus steinman stephenson stevenson
    stevin strauss taccola telford torroja trevithick turing vauban vitruvius watt whitworth wren yeates
    zuse
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_docker_judges_them() {
        for good in ["ab", "web-1", "a_b.c", "0x"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "-web", "_x", "a b", "a/b", "ä1", "a\0"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn random_names_are_valid() {
        for attempt in 0..12 {
            assert!(is_valid(&random(attempt)));
        }
        assert!(
            ADJECTIVES
                .chars()
                .chain(BUILDERS.chars())
                .all(|letter| letter.is_ascii_lowercase() || letter.is_whitespace())
        );
    }
}
