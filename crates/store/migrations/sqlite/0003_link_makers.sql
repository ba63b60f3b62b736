-- A link rests on the right of whoever made it, and ends with it. The name alone does not say whose that is: another account may have
-- it later. `maker_id` is NULL where the server itself or its command line made the link: that right ends with nobody.
ALTER TABLE invitations ADD COLUMN maker_id INTEGER REFERENCES accounts (id) ON DELETE CASCADE;
CREATE INDEX invitations_by_maker ON invitations (maker_id, expires_at);

-- Open links of people who have lost the right already end here.
DELETE FROM invitations WHERE created_by IS NOT NULL AND created_by NOT IN
    (SELECT name FROM accounts WHERE is_admin = TRUE AND disabled = FALSE);
UPDATE invitations SET maker_id = (SELECT accounts.id FROM accounts WHERE accounts.name = created_by);
