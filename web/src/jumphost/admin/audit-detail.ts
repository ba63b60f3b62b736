/** The details of an audit entry, whose shape differs with its kind, as one line. */
export function auditDetail(detail: unknown): string {
  if (detail === null || detail === undefined) return '';
  if (typeof detail === 'string') return detail;
  if (typeof detail !== 'object') return String(detail);
  if (Array.isArray(detail)) return detail.map(auditDetail).join(', ');
  return Object.entries(detail)
    .filter(([, value]) => value !== null && value !== '')
    .map(([name, value]) => `${name.replaceAll('_', ' ')}: ${auditDetail(value)}`)
    .join(' · ');
}
