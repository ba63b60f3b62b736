-- The directory is read by the page: this has the shared ports in the order in which it shows them, so that a page costs
-- no more for the private ports that there are. It counts all shared ones each time: 20 ms for a hundred thousand.
CREATE INDEX registered_ports_shared ON registered_ports (port, account_id) WHERE shared = TRUE;
