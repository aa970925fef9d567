#define ENTRY(name) {#name, name}
static const struct { const char *name; void (*run)(void); } rules[] = {
  ENTRY(mkdir_mode_and_umask),
  ENTRY(rmdir_only_empty_directories),
  ENTRY(rmdir_of_the_working_directory),
  ENTRY(unlink_rules),
  ENTRY(unlink_while_open),
  ENTRY(link_counts_and_shares),
  ENTRY(link_refusals),
  ENTRY(rename_replaces),
  ENTRY(rename_of_directories),
  ENTRY(rename_with_flags),
  ENTRY(symlinks),
  ENTRY(symlink_loops_and_lengths),
  ENTRY(lengths_of_names),
  ENTRY(names_are_bytes),
  ENTRY(pipes_sockets_and_nodes),
  ENTRY(directories_are_listed_whole),
  ENTRY(chmod_rules),
  ENTRY(chown_rules),
  ENTRY(new_files_have_their_makers_owner),
  ENTRY(set_group_id_directories_give_their_group),
  ENTRY(sticky_directories),
  ENTRY(permissions_are_checked),
  ENTRY(set_user_id_goes_when_another_writes),
  ENTRY(set_user_id_programs),
  ENTRY(times_are_set),
  ENTRY(changes_move_times),
  ENTRY(extended_attributes),
  ENTRY(capabilities_of_files),
  ENTRY(access_control_lists),
  ENTRY(file_systems_are_described),
  ENTRY(open_flags),
  ENTRY(appending),
  ENTRY(files_without_names),
  ENTRY(truncating),
  ENTRY(large_and_sparse_files),
  ENTRY(holes),
  ENTRY(copying_in_the_kernel),
  ENTRY(syncing),
  ENTRY(positions_are_shared_by_dup_and_fork),
  ENTRY(shared_mappings),
  ENTRY(private_mappings),
  ENTRY(mappings_outlive_names_and_descriptors),
  ENTRY(fcntl_locks),
  ENTRY(fcntl_locks_of_ranges),
  ENTRY(flock_locks),
  ENTRY(flock_belongs_to_the_open_file),
  ENTRY(locks_of_open_files),
  ENTRY(waiting_for_locks),
};

int main(int count, char **words) {
  self = words[0];
  if (count == 2 && !strcmp(words[1], "--user")) return geteuid();
  if (count < 2 || chdir(words[1])) return perror("usage: rules DIRECTORY [RULE]"), 2;
  setvbuf(stdout, 0, _IOLBF, 0);
  for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++) {
    if (count > 2 && strcmp(words[2], rules[i].name)) continue;
    umask(0); failure[0] = 0;
    int above = open(".", O_RDONLY);
    if (mkdir(rules[i].name, 0755) || chdir(rules[i].name)) return perror(rules[i].name), 2;
    rules[i].run(); root(); fchdir(above); close(above);
    if (*failure) printf("FAIL %s: %s\n", rules[i].name, failure); else printf("ok %s\n", rules[i].name);
  }
  return 0;
}
