//! Foreign text through everything here; for the fuzz target and for proptest.

use crate::{Glob, Heredoc, IgnoreList, Instruction, Lex, parse};

/// Must end soon, without a panic.
pub fn fuzz(text: &str, name: &str) {
    if let Ok(list) = IgnoreList::parse(text) {
        let _ = list.ignores(name);
    }
    if let Ok(glob) = Glob::path(text) {
        let _ = glob.matches(name);
    }
    let env = |asked: &str| asked.len().is_multiple_of(2).then(|| name.to_owned());
    let Ok(file) = parse(text) else { return };
    let lex = Lex::new(file.escape);
    let steps = file.stages.iter().flat_map(|stage| &stage.steps);
    for step in steps {
        let _ = lex.expand(&step.text, &env);
        let _ = lex.expand_words(&step.text, &env);
        if let Instruction::Run(run) = &step.instruction {
            for Heredoc { content, .. } in &run.heredocs {
                let _ = lex.document().expand(content, &env);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,200}", name in "[a-z/.*]{0,20}") {
            super::fuzz(&text, &name);
        }

        #[test]
        fn nothing_that_looks_like_a_dockerfile_panics(
            lines in proptest::collection::vec(
                "(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|CMD|HEALTHCHECK|ONBUILD|VOLUME|SHELL)? ?[-a-z$\\{\\}:+=/'\"\\\\\\[\\]<>EOF \t*#]{0,30}",
                0..12,
            ),
            name in "[a-z/.]{0,10}",
        ) {
            super::fuzz(&format!("FROM x\n{}", lines.join("\n")), &name);
        }
    }
}
