-- name: highest_id
SELECT seq FROM sqlite_sequence WHERE name = 'messages';

-- name: first_result of a send, by its mid
SELECT id, recipient, thread, broadcast FROM messages
 WHERE sender = :sender AND sender_incarnation = :incarnation AND mid = :mid;

-- name: broadcast_rows
SELECT id, recipient FROM messages WHERE broadcast = :first ORDER BY id;

-- name: stored_between
SELECT id FROM messages WHERE id BETWEEN :first AND :last;

-- name: parties of a message that is replied to
SELECT sender, sender_incarnation, recipient, recipient_incarnation, thread FROM messages WHERE id = :id;

-- name: thread_of_turn
SELECT thread FROM messages WHERE turn = :turn AND recipient = :agent ORDER BY id LIMIT 1;

-- name: count_queued
SELECT count(*) FROM messages WHERE recipient = :recipient AND state = 'queued';

-- name: lease the oldest that no backed-off message of the same sender holds up
UPDATE messages SET state = 'leased', epoch = :epoch
 WHERE id IN (
   SELECT id FROM messages AS head
    WHERE recipient = :recipient AND state = 'queued' AND not_before <= :now
      AND recipient_incarnation = :incarnation
      AND NOT EXISTS (
        SELECT 1 FROM messages AS earlier
         WHERE earlier.recipient = head.recipient AND earlier.sender = head.sender AND earlier.id < head.id
           AND earlier.state = 'queued' AND earlier.not_before > 0 AND earlier.not_before > :now)
    ORDER BY id LIMIT :max)
RETURNING id, sender, recipient, kind, body, sent_at, in_reply_to, thread, attempts, broadcast, earlier_turns;

-- name: held by an epoch
SELECT id, sender, recipient, kind, body, sent_at, in_reply_to, thread, attempts, broadcast, earlier_turns
  FROM messages
 WHERE id IN (
     SELECT id FROM messages INDEXED BY messages_open WHERE recipient = :recipient AND state = 'leased'
     UNION ALL
     SELECT id FROM messages INDEXED BY messages_open WHERE recipient = :recipient AND state = 'read')
   AND recipient_incarnation = :incarnation AND epoch = :epoch
 ORDER BY id;

-- name: sent_in_turns
SELECT id, recipient, sent_at, body FROM messages
 WHERE caused_by IN (SELECT value FROM json_each(:turns)) AND sender = :sender AND sender_incarnation = :incarnation
 ORDER BY id LIMIT 20;

-- name: read the leased ones into a turn
UPDATE messages SET state = 'read', turn = :turn, read_at = :now
 WHERE id IN (SELECT value FROM json_each(:ids)) AND +recipient = :recipient
   AND recipient_incarnation = :incarnation AND epoch = :epoch
   AND (state = 'leased' OR state = 'read' AND turn = :turn)
RETURNING id, sender, thread;

-- name: ack what nobody else was given since
UPDATE messages SET state = 'acked', settled_at = :now
 WHERE id IN (SELECT value FROM json_each(:ids)) AND +recipient = :recipient
   AND recipient_incarnation = :incarnation AND epoch = :epoch AND state IN ('queued', 'leased', 'read')
RETURNING id, sender, thread;

-- name: acked_already by this epoch: a repeated ack is no surprise
SELECT id FROM messages
 WHERE id IN (SELECT value FROM json_each(:ids)) AND +recipient = :recipient
   AND recipient_incarnation = :incarnation AND epoch = :epoch AND state = 'acked';

-- name: give_back leased and read messages to the queue, or to the dead
UPDATE messages SET
   state = CASE WHEN attempts + iif(state = 'read', :read, :leased) >= :max_attempts
                  OR deaths + (state = 'read' AND :died) >= :max_deaths THEN 'dead' ELSE 'queued' END,
   settled_at = CASE WHEN attempts + iif(state = 'read', :read, :leased) >= :max_attempts
                       OR deaths + (state = 'read' AND :died) >= :max_deaths THEN :now END,
   not_before = CASE json_extract(:delays, '$[' || min(attempts, json_array_length(:delays) - 1) || ']')
     WHEN 0 THEN 0
     ELSE :now + json_extract(:delays, '$[' || min(attempts, json_array_length(:delays) - 1) || ']') END,
   attempts = attempts + iif(state = 'read', :read, :leased),
   deaths = deaths + (state = 'read' AND :died),
   earlier_turns = CASE WHEN turn IS NOT NULL THEN json_insert(earlier_turns, '$[#]', turn)
                        WHEN :read AND earlier_turns = '[]' THEN '[""]'
                        ELSE earlier_turns END,
   turn = NULL,
   read_at = NULL,
   note = :note
 WHERE id IN (
     SELECT id FROM messages INDEXED BY messages_open WHERE recipient = :recipient AND state = 'leased'
     UNION ALL
     SELECT id FROM messages INDEXED BY messages_open WHERE recipient = :recipient AND state = 'read')
   AND (:incarnation IS NULL OR recipient_incarnation = :incarnation)
   AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
   AND (:epoch IS NULL OR epoch = :epoch)
   AND (:up_to IS NULL OR epoch <= :up_to)
   AND (:other_than IS NULL OR epoch <> :other_than)
RETURNING id, sender, sender_incarnation, recipient, thread, state, not_before, attempts, note, substr(body, 1, 200);

-- name: kill_mail of a recipient that is no more
UPDATE messages SET state = 'dead', settled_at = :now, turn = NULL, note = :note
 WHERE recipient = :recipient AND (state = 'queued' OR state = 'leased' OR state = 'read')
   AND (:incarnation IS NULL OR recipient_incarnation <> :incarnation)
RETURNING id, sender, sender_incarnation, recipient, thread, state, not_before, attempts, note, substr(body, 1, 200);

-- name: is_alive
SELECT 1 FROM mailboxes WHERE name = :name AND incarnation = :incarnation;

-- name: come_due
UPDATE messages SET not_before = 0
 WHERE id IN (SELECT id FROM messages INDEXED BY messages_backed_off
               WHERE state = 'queued' AND not_before > 0 AND not_before <= :now)
RETURNING recipient;

-- name: next_due
SELECT min(not_before) FROM messages INDEXED BY messages_backed_off WHERE state = 'queued' AND not_before > 0;

-- name: handle what the operator has seen
UPDATE messages SET state = 'acked', settled_at = :now, read_at = :now
 WHERE id IN (SELECT value FROM json_each(:ids)) AND +recipient = 'operator' AND state = 'queued'
RETURNING id, sender, thread;

-- name: requeue a dead letter
UPDATE messages SET state = 'queued', attempts = 0, deaths = 0, not_before = 0, settled_at = NULL
 WHERE id = :id AND state = 'dead'
   AND EXISTS (SELECT 1 FROM mailboxes WHERE name = recipient AND incarnation = recipient_incarnation)
RETURNING id, sender, recipient, thread;

-- name: drop a dead letter
UPDATE messages SET state = 'dropped', settled_at = :now WHERE id = :id AND state = 'dead'
RETURNING id, sender, recipient, thread;

-- name: state_of
SELECT state, recipient FROM messages WHERE id = :id;

-- name: receipt
SELECT id, recipient, state, sent_at, attempts, read_at, settled_at, note, sender, sender_incarnation
  FROM messages WHERE id = :id;

-- name: inbox, newest first
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages WHERE recipient = :recipient ORDER BY id DESC LIMIT :limit;

-- name: flow between all, newest first
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages ORDER BY id DESC LIMIT :limit;

-- name: unread_inbox, newest first
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages WHERE recipient = :recipient AND state = 'queued' ORDER BY id DESC LIMIT :limit;

-- name: dead_letters, oldest first
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages INDEXED BY messages_dead WHERE state = 'dead' ORDER BY id LIMIT :limit;

-- name: count_dead
SELECT count(*) FROM messages INDEXED BY messages_dead WHERE state = 'dead';

-- name: message
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages WHERE id = :id;

-- name: next_in_thread
SELECT id, sender, recipient, kind, body, sent_at, state, in_reply_to, thread, attempts, note
  FROM messages WHERE recipient = :recipient AND id > :after AND +thread = :thread ORDER BY id LIMIT 1;

-- name: queued_by_recipient
SELECT recipient, count(*) FROM messages INDEXED BY messages_open WHERE state = 'queued' GROUP BY recipient;

-- name: all_mailboxes
SELECT name, incarnation, epoch, boot_id,
       EXISTS (SELECT 1 FROM messages INDEXED BY messages_open WHERE recipient = name AND state = 'leased')
       OR EXISTS (SELECT 1 FROM messages INDEXED BY messages_open WHERE recipient = name AND state = 'read')
  FROM mailboxes;

-- name: put_mailbox
INSERT INTO mailboxes (name, incarnation) VALUES (:name, :incarnation)
    ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, boot_id = ''
RETURNING epoch;

-- name: put_epoch
UPDATE mailboxes SET epoch = :epoch, boot_id = :boot_id WHERE name = :name AND incarnation = :incarnation;

-- name: delete_mailbox
DELETE FROM mailboxes WHERE name = :name;

-- name: vacuum_range
SELECT id, sent_at FROM messages WHERE id > :after ORDER BY id LIMIT :chunk;

-- name: vacuum
DELETE FROM messages
 WHERE id > :after AND id <= :last AND state IN ('acked', 'dead', 'dropped') AND settled_at < :before;
